"""Limits on look-ups of unknown schema ids: a sender of many unknown ids spends its own budget.

Every look-up is a request to the registry, for which a whole batch waits. An id that the registry knows costs nothing
here: it is looked up once. An unknown one costs a look-up, from a budget of one per second for all, and a few that each
sender has to itself. So a department that names random ids takes no look-up from a neighbour who has just registered a
schema.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic

from schemas.contracts.codec import NotDecodable

__all__ = ["Lookups"]

_UNKNOWN_FOR = 2.0
"""Seconds for which an id that the registry did not know is not looked up again for the same sender."""

_OWN, _OWN_AFTER = 4, 60.0
"""Look-ups that each sender has to itself, and the seconds after which a used one returns."""


@dataclass(slots=True)
class _Budget:
    """A token bucket of look-ups, up to `most`; one returns every `seconds`."""

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
    """Recently unknown ids, and the budgets for further look-ups; safe to call from any thread.

    Its size does not grow with the named ids: an id is kept for two seconds, and only if it was looked up.
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
        """Return the sender whose budget pays for this look-up.

        Raises NotDecodable (UNKNOWN_SCHEMA) if the registry did not know the id a moment ago, or no budget is left.
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
        """Refund a look-up: the registry knew the id, or did not answer at all."""
        with self._lock:
            own = self._own[asker]
            own.left = min(own.most, own.left + 1)

    def missing(self, schema_id: int, askers: Collection[str], why: NotDecodable) -> None:
        """Remember for a moment that the registry has no such schema."""
        with self._lock:
            now = self._now()
            for asker in askers:
                self._missing.pop((asker, schema_id), None)  # moved to the end: the oldest come first
                self._missing[asker, schema_id] = now, why
