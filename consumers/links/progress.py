"""How far a link is, partition by partition: written by the link's thread, read by whoever asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from time import time

from consumers.links.clusters import Place

__all__ = ["LinkProgress"]


@dataclass(slots=True)
class _Standing:
    confirmed: int
    """The next offset of the own log that the peer has not confirmed."""
    handed: int
    """The next that has not been handed to the producer."""
    read_to: int
    """Everything before it has been read: markers of transactions move it, no message does."""
    end: int
    as_of: float
    """Unix time up to which everything is known to have arrived."""


class LinkProgress:
    """The standing of every partition of a link. `since` is when the link began: nothing is known of before."""

    def __init__(self) -> None:
        self.since = time()
        self._places: dict[Place, _Standing] = {}

    def begins(self, place: Place, offset: int, end: int, as_of: float | None) -> None:
        """Tell where a partition goes on, and how long the own log is."""
        held = self._places.get(place)
        known = max(as_of or 0.0, held.as_of if held else 0.0) or self.since
        self._places[place] = _Standing(offset, offset, offset, end, time() if offset >= end else known)

    def handed(self, place: Place, following: int) -> None:
        """Tell the next offset to hand over."""
        at = self._places[place]
        at.handed = following
        at.end = max(at.end, following)

    def confirmed(self, place: Place, offset: int, received: float) -> None:
        """Tell that the peer has this offset, which the own broker received at this Unix time, and all before it."""
        at = self._places[place]
        at.confirmed = max(at.confirmed, offset + 1)
        at.as_of = max(at.as_of, received)
        self._whole(at)

    def read_to(self, place: Place, end: int) -> None:
        """Tell that the own log has been read to its end, which was here."""
        at = self._places[place]
        at.read_to, at.end = max(at.read_to, end), max(at.end, end)
        self._whole(at)

    def ends(self, place: Place, end: int) -> None:
        """Tell the end of the own log, read or not."""
        at = self._places.get(place)
        if at is not None:
            at.end = max(at.end, end)

    def next_of(self, place: Place) -> int:
        """Return the next offset that the peer has not confirmed."""
        return self._places[place].confirmed

    def handed_of(self, place: Place) -> int:
        """Return the next offset to hand over."""
        return self._places[place].handed

    def lag(self, places: Collection[Place] | None = None) -> tuple[int, float]:
        """Return messages and seconds that these partitions, or all, lag behind: the sum, and the longest."""
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
        # Behind the last message a transaction's marker may stand: who has all messages lags behind nothing.
        return max(at.confirmed, at.read_to) if at.confirmed >= at.handed else at.confirmed

    def _whole(self, at: _Standing) -> None:
        if self._has(at) >= at.end:
            at.as_of = max(at.as_of, time())
