"""Recorder of the receiving stage: its metrics and log events. The stage itself knows no metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog

from streams.exchange.incoming.checkpoint_chain import CheckpointOutcome
from streams.monitoring.instruments import Instruments, Labels
from streams.monitoring.metrics import EXCHANGE_ACCEPTED, EXCHANGE_CHECKPOINTS, EXCHANGE_REFUSED

__all__ = ["NOT_BELIEVED", "ReceivingRecorder"]

log = structlog.get_logger()

NOT_BELIEVED = "not_believed"
"""Outcome, in the metric, of a checkpoint that cannot be verified as its province's."""

_LOUD = (CheckpointOutcome.GAP, CheckpointOutcome.BROKEN, CheckpointOutcome.STALE)


class ReceivingRecorder:
    """Counts and logs the receiving stage's work. `provinces` have series from the start: an alert asks whether one
    grows."""

    def __init__(self, instruments: Instruments, provinces: Iterable[str] = ()) -> None:
        self._accepted = instruments.total(EXCHANGE_ACCEPTED)
        self._refused = instruments.total(EXCHANGE_REFUSED)
        self._checkpoints = instruments.total(EXCHANGE_CHECKPOINTS)
        for province in provinces:
            self._accepted.add({(province,): 0})
            self._refused.add({(province,): 0})
            self._checkpoints.add({(province, outcome): 0 for outcome in (*map(str, CheckpointOutcome), NOT_BELIEVED)})

    def closed(self, province: str, partition: int, sequence: int, outcome: CheckpointOutcome, why: str) -> None:
        """A verified checkpoint was compared with its run."""
        self._checkpoints.add({(province, str(outcome)): 1})
        if outcome in _LOUD:
            log.error("exchange.gap" if outcome is CheckpointOutcome.GAP else f"exchange.{outcome}", province=province, partition=partition, sequence=sequence, why=why)  # fmt: skip

    def not_believed(self, province: str, partition: int, why: str) -> None:
        """A message cannot be verified as the province's, or cannot be placed; it has no effect."""
        self._checkpoints.add({(province, NOT_BELIEVED): 1})
        log.error("exchange.not_believed", province=province, partition=partition, why=why)

    def applied(self, accepted: Iterable[str], refused: Iterable[str]) -> None:
        """Messages of these provinces were written to `accepted`, and to quarantine; one name for each message."""
        self._accepted.add(_counted(accepted))
        self._refused.add(_counted(refused))


def _counted(provinces: Iterable[str]) -> Counter[Labels]:
    return Counter((province,) for province in provinces)
