"""What the relay reports of its work, as metrics."""

from __future__ import annotations

from streams.monitoring.endpoint import Outside
from streams.monitoring.metrics import (
    RELAYED,
    RETRIES,
)

__all__ = ["RelayRecorder"]


class RelayRecorder:
    """Told by the relay."""

    def __init__(self, outside: Outside) -> None:
        self._probe = outside.probe
        self._retries = outside.instruments.total(RETRIES)
        self._published = outside.instruments.total(RELAYED)
        self._published.add({("receipt",): 0, ("change",): 0, ("tombstone",): 0})

    def goes_round(self) -> None:
        """A round of its loop begins."""
        self._probe.beat("relay")

    def ends(self) -> None:
        """Its loop ends in good order."""
        self._probe.ended("relay")

    def published(self, receipts: int, changes: int, tombstones: int) -> None:
        """These messages are published, and the outbox knows."""
        self._published.add({("receipt",): receipts, ("change",): changes, ("tombstone",): tombstones})

    def retried(self, server: str) -> None:
        """A round failed because of this server, and will be made again."""
        self._retries.add({(server,): 1})
