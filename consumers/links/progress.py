"""Progress of a link by partition: the link's thread writes it, other threads read it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from time import time

from consumers.links.clusters import Place

__all__ = ["LinkProgress"]


@dataclass(slots=True)
class _Standing:
    confirmed: int
    """The first offset of the own log that the peer has not confirmed."""
    handed: int
    """The first offset that has not been passed to the producer."""
    read_to: int
    """Everything before it has been read: markers of transactions move it, no message does."""
    end: int
    as_of: float
    """Unix time up to which everything is known to have arrived."""


class LinkProgress:
    """The progress of every partition of a link. `since` is when the link began; nothing earlier is known."""

    def __init__(self) -> None:
        self.since = time()
        self._places: dict[Place, _Standing] = {}

    def begins(self, place: Place, offset: int, end: int, as_of: float | None) -> None:
        """Write where a partition goes on, and the end of the own log."""
        held = self._places.get(place)
        known = max(as_of or 0.0, held.as_of if held else 0.0) or self.since
        self._places[place] = _Standing(offset, offset, offset, end, time() if offset >= end else known)

    def handed(self, place: Place, following: int) -> None:
        """Write the next offset to pass to the producer."""
        at = self._places[place]
        at.handed = following
        at.end = max(at.end, following)

    def confirmed(self, place: Place, offset: int, received: float) -> None:
        """Write that the peer has this offset, which the own broker received at this Unix time, and all before it."""
        at = self._places[place]
        at.confirmed = max(at.confirmed, offset + 1)
        at.as_of = max(at.as_of, received)
        self._whole(at)

    def read_to(self, place: Place, end: int) -> None:
        """Write that the own log has been read to its end, and that end."""
        at = self._places[place]
        at.read_to, at.end = max(at.read_to, end), max(at.end, end)
        self._whole(at)

    def ends(self, place: Place, end: int) -> None:
        """Write the end of the own log, read or not."""
        at = self._places.get(place)
        if at is not None:
            at.end = max(at.end, end)

    def next_of(self, place: Place) -> int:
        """Return the next offset that the peer has not confirmed."""
        return self._places[place].confirmed

    def handed_of(self, place: Place) -> int:
        """Return the next offset to pass to the producer."""
        return self._places[place].handed

    def lag(self, places: Collection[Place] | None = None) -> tuple[int, float]:
        """Return the lag of these partitions, or of all: the sum of messages, and the longest in seconds."""
        now, messages, seconds = time(), 0, 0.0
        for at in [at for place, at in list(self._places.items()) if places is None or place in places]:
            behind = at.end - self._has(at)
            if behind > 0:
                messages += behind
                seconds = max(seconds, now - at.as_of)
        return messages, seconds

    @property
    def places(self) -> Iterable[Place]:
        """All partitions, in order."""
        return sorted(self._places)

    def _has(self, at: _Standing) -> int:
        # A transaction's marker may follow the last message: a peer with all messages has no lag.
        return max(at.confirmed, at.read_to) if at.confirmed >= at.handed else at.confirmed

    def _whole(self, at: _Standing) -> None:
        if self._has(at) >= at.end:
            at.as_of = max(at.as_of, time())
