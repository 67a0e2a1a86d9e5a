"""How often an unknown schema id is asked for: whoever names many of them spends his own look-ups,
and little of anybody's time.

Every look-up is a request to the registry, for which a whole batch waits. An id that is in the registry costs nothing
here: it is asked for once. One that is not costs a look-up, of which there is one a second for all, and a few that each
asker has to himself. So a department that names ids at random takes no look-up from a neighbour who has just registered
a schema.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic

from schemas.contracts.codec import NotDecodable

__all__ = ["Lookups"]

_UNKNOWN_FOR = 2.0
"""Seconds for which an id that the registry did not know is not asked for again by the same asker."""

_OWN, _OWN_AFTER = 4, 60.0
"""Look-ups that each asker has to himself, and the seconds after which one that was used comes back."""


@dataclass(slots=True)
class _Budget:
    """Look-ups that are left, up to `most`; one comes back after every `seconds`."""

    most: int
    seconds: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        self.left, self.at = min(self.most, self.left + (now - self.at) / self.seconds), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Lookups:
    """Which ids the registry did not know a moment ago, and who may ask for another; any thread may call it.

    What it holds does not grow with the ids that are named: an id is kept for two seconds,
    and only where it was asked for.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._shared = _Budget(1, 1.0, 1, now())
        self._own: dict[str, _Budget] = {}
        self._missing: dict[tuple[str, int], tuple[float, NotDecodable]] = {}

    def __len__(self) -> int:
        """Return how many ids are kept as unknown."""
        return len(self._missing)

    def begin(self, schema_id: int, askers: Collection[str]) -> str:
        """Return which of these asks for the id, and so pays for it.

        Raises NotDecodable (UNKNOWN_SCHEMA) where the registry did not know it a moment ago,
        or none of them may ask now.
        """
        with self._lock:
            now = self._now()
            while self._missing and now - next(iter(self._missing.values()))[0] >= _UNKNOWN_FOR:
                del self._missing[next(iter(self._missing))]
            asking = [asker for asker in askers if (asker, schema_id) not in self._missing]
            if not asking:
                raise self._missing[next(iter(askers)), schema_id][1]
            for asker in asking:
                own = self._own.setdefault(asker, _Budget(_OWN, _OWN_AFTER, _OWN, now))
                if self._shared.take(now) or own.take(now):
                    return asker
        raise NotDecodable(
            "UNKNOWN_SCHEMA", f"the schema id {schema_id} was not asked for: too many unknown ones came before it"
        )

    def found(self, asker: str) -> None:
        """Give back what the look-up cost: the registry knew the id, or did not answer at all."""
        with self._lock:
            own = self._own[asker]
            own.left = min(own.most, own.left + 1)

    def missing(self, schema_id: int, askers: Collection[str], why: NotDecodable) -> None:
        """Keep for a moment that the registry has no such schema."""
        with self._lock:
            now = self._now()
            for asker in askers:
                self._missing.pop((asker, schema_id), None)  # put back at the end: the oldest stand first
                self._missing[asker, schema_id] = now, why
