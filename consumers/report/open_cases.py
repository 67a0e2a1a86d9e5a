"""Open cases (异议, 更正, 更新, 修复) of a reader's records, now or as they were known at an earlier time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from schemas.cases.fold import STATES, CaseEvent, fold_all
from schemas.errors import Retryable

__all__ = ["OpenCase", "open_cases"]

Key = tuple[UUID, str, str]
"""The identity of a record: id, province, department."""


@dataclass(frozen=True, slots=True)
class OpenCase:
    """An open case about a record."""

    case: str
    procedure: str
    state: str
    lead: str
    opened_at: datetime
    record_id: UUID
    province: str
    department: str

    @property
    def key(self) -> Key:
        """The key of its record."""
        return self.record_id, self.province, self.department

    def shown(self) -> str:
        """Return it in words: 异议 已转办 hebei-20261125-4f7a01c2."""
        return f"{self.procedure} {STATES[self.state]} {self.case}"


def open_cases(database: str, records: Collection[UUID], *, until: datetime | None = None) -> tuple[OpenCase, ...]:
    """Return the open cases about these records, oldest first; with `until`, as they were known then.

    A case led by a province in which the entity was not registered that day does not count and is left out. Raises
    Retryable if PostgreSQL does not answer.
    """
    if not records:
        return ()
    try:
        with psycopg.connect(
            database, row_factory=dict_row, options="-c timezone=UTC", connect_timeout=10
        ) as connection:
            connection.read_only = True
            wrongly = connection.execute(
                "SELECT case_id FROM report.case_standing WHERE record_id = ANY(%s) AND NOT led_rightly",
                (list(records),),
            ).fetchall()
            rows = connection.execute(
                "SELECT * FROM report.case_event WHERE record_id = ANY(%s) AND recorded_at <= %s",
                (list(records), until or datetime.max.replace(tzinfo=UTC)),
            ).fetchall()
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}", server="postgres") from error
    void = {row["case_id"] for row in wrongly}
    found = fold_all(CaseEvent.of(_event(row)) for row in rows if row["case_id"] not in void)
    still = (case for case in found.values() if case.ended is None)
    return tuple(
        OpenCase(
            case.case_id, case.procedure.name_zh, case.state, case.lead, of.at, UUID(of.record_id), of.record_province,
            of.department,
        )
        for case, of in sorted(((case, case.opened) for case in still), key=lambda pair: pair[1].at)
    )  # fmt: skip


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "by": row["said_by"], "record_id": row["record_id"].hex, "at": row["at"].astimezone(UTC)}
