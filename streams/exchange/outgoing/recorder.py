"""Recorder of the exchange's publisher: its metrics and its liveness probe."""

from __future__ import annotations

from collections.abc import Iterable

from streams.exchange.outgoing.signed_log import WrittenCheckpoint
from streams.monitoring.endpoint import Outside
from streams.monitoring.metrics import EXCHANGE_CHECKPOINT, EXCHANGE_TOLD, RETRIES

__all__ = ["PublisherRecorder"]


class PublisherRecorder:
    """Counts the publisher's work, once a round."""

    def __init__(self, outside: Outside) -> None:
        self._probe = outside.probe
        self._retries = outside.instruments.total(RETRIES)
        self._told = outside.instruments.total(EXCHANGE_TOLD)
        self._checkpoint = outside.instruments.latest(EXCHANGE_CHECKPOINT)
        self._closed: dict[tuple[str, ...], float] = {}
        self._told.add({("statement",): 0, ("beside",): 0, ("checkpoint",): 0})

    def goes_round(self) -> None:
        """A round of its loop begins."""
        self._probe.beat("exchange")

    def ends(self) -> None:
        """Its loop ends in good order."""
        self._probe.ended("exchange")

    def published(self, statements: int, beside: int, closed: Iterable[WrittenCheckpoint]) -> None:
        """These messages are in the log, and stored as published."""
        news: dict[tuple[str, ...], float] = {(str(one.partition),): one.made_at.timestamp() for one in closed}
        self._told.add({("statement",): statements, ("beside",): beside, ("checkpoint",): len(news)})
        self._closed |= news
        self._checkpoint.replace(self._closed)

    def resigned(self) -> None:
        """Its generation no longer serves: another publisher reports the checkpoints. One that waits keeps its last
        ones."""
        self._closed = {}
        self._checkpoint.replace({})

    def retried(self, server: str) -> None:
        """A round failed because of this server, and will be repeated."""
        self._retries.add({(server,): 1})
