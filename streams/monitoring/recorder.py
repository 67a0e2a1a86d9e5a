"""The collector's recorder. Each stage has a recorder of its own beside it: the stages know no metric.

A recorder is called once each batch, not once each record. To discard the counts, give it fresh instruments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import Retryable
from streams.monitoring.endpoint import Outside
from streams.monitoring.metrics import (
    INTAKE_MESSAGES,
    INTAKE_SECONDS,
    REREADS,
    RETRIES,
    TRANSACTION_ROWS,
    TRANSACTION_SECONDS,
)

__all__ = ["WorkRecorder"]

_SERVERS = ("kafka", "registry", "postgres")


class WorkRecorder:
    """Counts the collector's work: duration of batches, repeated tries, and calls that hang."""

    def __init__(self, outside: Outside) -> None:
        known = outside.instruments
        intake = known.worker == "intake"
        self._probe = outside.probe
        self._seconds = known.spread(INTAKE_SECONDS if intake else TRANSACTION_SECONDS)
        self._messages = known.spread(INTAKE_MESSAGES if intake else TRANSACTION_ROWS)
        self._rereads = None if intake else known.total(REREADS)
        self._retries = known.total(RETRIES)
        self._retries.add({(server,): 0 for server in _SERVERS})

    def finished(self, messages: int, seconds: float) -> None:
        """Record a finished batch: its messages, and the seconds of the successful tries, one of each step."""
        self._seconds.observe((), (seconds,))
        self._messages.observe((), (messages,))

    @contextmanager
    def trying(self, step: str) -> Iterator[None]:
        """Watch one try of a step of the work, in any thread; count it if it must be repeated."""
        waits_for = None
        self._probe.call_begins(step)
        try:
            yield
        except Retryable as error:
            self._retries.add({(error.server,): 1})
            waits_for = str(error)
            raise
        finally:
            self._probe.call_ends(step, waits_for)

    def reread(self) -> None:
        """Count a second reading of partitions."""
        if self._rereads is not None:
            self._rereads.add({(): 1})
