"""Recorders of intake: the metrics of its batches and of schema ids that differ."""

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
    """Findings of intake on one message."""

    findings: list[Finding]
    refused: bool


class IntakeRecorder:
    """Counts each batch that intake has forwarded. `departments` are the keys that have series from the start."""

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
        """Count a batch: all its messages, those with findings, and the markers that were not refused."""
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
    """Counts the schema ids that mean something else than they meant when they were first seen."""

    def __init__(self, instruments: Instruments) -> None:
        self._differing = instruments.latest(SCHEMAS_DIFFERING)
        self.changed(frozenset())

    def changed(self, ids: Collection[int]) -> None:
        """Set the count to these ids; no others differ."""
        self._differing.replace({(): len(ids)})


def _department(topic: str) -> str:
    return topic.removeprefix("records.")
