"""What the publisher of the exchange tells of its work."""

from __future__ import annotations

from collections.abc import Iterable

from streams.exchange.outgoing.signed_log import WrittenCheckpoint
from streams.monitoring.endpoint import Outside
from streams.monitoring.metrics import EXCHANGE_CHECKPOINT, EXCHANGE_TOLD, RETRIES

__all__ = ["PublisherRecorder"]


class PublisherRecorder:
    """Told by the publisher, once a round."""

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
        """These messages stand in the log, and the store knows."""
        news: dict[tuple[str, ...], float] = {(str(one.partition),): one.made_at.timestamp() for one in closed}
        self._told.add({("statement",): statements, ("beside",): beside, ("checkpoint",): len(news)})
        self._closed |= news
        self._checkpoint.replace(self._closed)

    def resigned(self) -> None:
        """Its generation serves no more: the checkpoints are another's to tell of. One that waits goes on telling its last."""
        self._closed = {}
        self._checkpoint.replace({})

    def retried(self, server: str) -> None:
        """A round failed because of this server, and will be made again."""
        self._retries.add({(server,): 1})
