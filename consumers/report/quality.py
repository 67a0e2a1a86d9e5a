"""The mirror: the departments' quality indicators, computed by views of the schema `report` (docs/quality.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isinf
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from schemas.errors import Retryable, UsageError

__all__ = ["Indicators", "indicators"]

Period = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Indicators:
    """One department in one period of receipt, by China's calendar. Rates are parts of 1; None: no denominator."""

    department: str
    period_from: date
    """First day of the period; the requested days may cut the first and the last period."""
    received: int
    """归集条数: accepted and refused."""
    accepted: int
    """入库条数: each statement once, however often it was published."""
    refused: int
    compliance_rate: Decimal | None
    """合规率: accepted of received."""
    published: int
    """First publications of penalties, by the day of receipt."""
    late: int
    """Those received beyond the seventh working day behind the decision."""
    not_judged: int
    """Those whose days are missing from the calendar."""
    late_rate: Decimal | None
    """迟报率: late of judged."""
    corrected: int
    conflicts: int
    """Statements whose record and version also exist with another content."""
    visible_p50: float | None
    """Seconds from the broker's receipt to visible, at most; None beyond the last bound, or if nothing was accepted."""
    visible_p99: float | None


def indicators(
    database: str, period: Period, window: tuple[date, date], *, department: str | None = None
) -> tuple[Indicators, ...]:
    """Return the indicators of every department, or of one, for each period between two days, both included.

    Raises UsageError if there is no database, Retryable if PostgreSQL does not answer.
    """
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE or XINLIU_READER_DATABASE")
    try:
        with psycopg.connect(
            database, row_factory=dict_row, options="-c timezone=UTC", connect_timeout=10
        ) as connection:
            connection.read_only = True
            rows = connection.execute(
                "SELECT * FROM report.quality_by(%s, %s, %s) WHERE %s::text IS NULL OR department = %s"
                " ORDER BY department, period_from",
                (period, *window, department, department),
            ).fetchall()
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error
    return tuple(Indicators(**_finite(row)) for row in rows)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and isinf(value) else value for name, value in row.items()}
