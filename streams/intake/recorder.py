"""What intake reports of its work, as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from streams.forwarding.findings import Finding
from streams.kafka.records import Record, Run
from streams.monitoring.instruments import Instruments, Labels
from streams.monitoring.metrics import (
    ACCEPTED,
    FINDINGS,
    REFUSED,
    SCHEMAS_DIFFERING,
)

__all__ = ["IntakeRecorder", "SchemaRecorder"]


class Verdict(Protocol):
    """What intake found out about one message."""

    findings: list[Finding]
    refused: bool


class IntakeRecorder:
    """Told by intake, of each batch that was forwarded. `departments` are the keys that have series from the start."""

    def __init__(self, instruments: Instruments, departments: Iterable[str] = ()) -> None:
        self._accepted = instruments.total(ACCEPTED)
        self._refused = instruments.total(REFUSED)
        self._findings = instruments.total(FINDINGS)
        for total in (self._accepted, self._refused):
            total.add({(department,): 0 for department in departments})

    def forwarded(
        self,
        runs: Sequence[Run],
        verdicts: Iterable[tuple[Record, Verdict]],
        markers: Iterable[Record],
    ) -> None:
        """Count a batch: all of it, the messages that have findings, and the markers that were not refused."""
        accepted, refused = Counter[Labels](), Counter[Labels]()
        findings = Counter[Labels]()
        for run in runs:
            accepted[_department(run.topic),] += len(run.records)
        for record, verdict in verdicts:
            department = _department(record.topic)
            refused[department,] += verdict.refused
            outcome = "refused" if verdict.refused else "flagged"
            findings.update((department, code, outcome) for code in {found["code"] for found in verdict.findings})
        accepted.subtract(refused)
        accepted.subtract(Counter[Labels]((_department(marker.topic),) for marker in markers))
        self._accepted.add(accepted)
        self._refused.add(refused)
        self._findings.add(findings)


class SchemaRecorder:
    """Told by intake which schema ids mean something else than they meant when they were first seen."""

    def __init__(self, instruments: Instruments) -> None:
        self._differing = instruments.latest(SCHEMAS_DIFFERING)
        self.changed(frozenset())

    def changed(self, ids: Collection[int]) -> None:
        """These ids do, and no others."""
        self._differing.replace({(): len(ids)})


def _department(topic: str) -> str:
    return topic.removeprefix("records.")
