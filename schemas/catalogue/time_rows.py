"""Rows of the catalogue's files on time: levels, periods, windows, visibility, holidays, deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from schemas.catalogue.rows import Key, Keys, Row, Text

__all__ = [
    "ANY", "UNSTATED", "DeadlineRow", "ExchangeLimitRow", "HolidayRow", "LevelRow", "ListPeriodRow", "TimeRows", "VisibilityRow", "WindowRow",
]  # fmt: skip

ANY = "*"
"""In visibility.csv and deadlines.csv: any value."""

UNSTATED = "未标明"
"""The level whose row applies to a penalty without a level."""

Months = Annotated[int, Field(ge=0, le=1_200)]
NoMonths = Annotated[Months | None, BeforeValidator(lambda value: None if value == "" else value)]
YesNo = Literal["yes", "no"]
Phase = Literal["NOT_YET", "DURING", "OVER", "*"]


class LevelRow(Row):
    """A level (失信程度): how long a penalty is published, in months from the date of its document.

    `published`: whether it is published in principle. `repair_after_months`: earliest application for repair, in months
    after the document; empty if there is no rule.
    """

    level: Text
    published: YesNo
    min_months: Months
    max_months: Months
    repair_after_months: NoMonths
    counts_from: Literal["decided_on"]

    @model_validator(mode="after")
    def _in_order(self) -> LevelRow:
        if self.min_months > self.max_months:
            raise ValueError(f"the shortest period ({self.min_months}) is longer than the longest ({self.max_months})")
        return self


class ListPeriodRow(Row):
    """How long an entry of a list is published, in months from `anchor`; empty if no term is known or stated."""

    list: Text
    months: NoMonths
    early_exit_months: NoMonths
    early_exit_counts_from: Annotated[
        Literal["listed_on", "correction"] | None, BeforeValidator(lambda value: None if value == "" else value)
    ]
    anchor: Literal["listed_on"]

    @model_validator(mode="after")
    def _together(self) -> ListPeriodRow:
        if (self.early_exit_months is None) != (self.early_exit_counts_from is None):
            raise ValueError("early_exit_months and early_exit_counts_from go together")
        return self


class WindowRow(Row):
    """Maximum range of a report (涵盖时间范围), in months before its last day, and which records count."""

    kind: Literal["PENALTY", "LISTING"]
    anchor: Literal["decided_on", "listed_to_removed"]
    anchor_zh: Text
    max_months: Annotated[int, Field(ge=1, le=1_200)]

    @model_validator(mode="after")
    def _of_its_kind(self) -> WindowRow:
        if (self.kind == "PENALTY") != (self.anchor == "decided_on"):
            raise ValueError(f"{self.anchor!r} is no anchor of a {self.kind}")
        return self


class VisibilityRow(Row):
    """One line of the two decisions: publishable (公示: on the web) and reportable (printed in the report).

    The first line that fits decides. `publication` and `report_window` give the place of the day relative to the
    record's period of publication, and of the record relative to the report's window.
    """

    decision: Literal["publishable", "reportable"]
    kind: Literal["PENALTY", "LISTING", "*"]
    level: Text
    status: Literal["IN_FORCE", "REPAIRED", "REVOKED", "*"]
    publication: Phase
    report_window: Phase
    answer: YesNo

    def fits(self, kind: str, level: str, status: str, publication: str, report_window: str) -> bool:
        """Return whether the line applies to this case."""
        pairs = (
            (self.kind, kind),
            (self.level, level),
            (self.status, status),
            (self.publication, publication),
            (self.report_window, report_window),
        )
        return all(wanted in (ANY, found) for wanted, found in pairs)


class HolidayRow(Row):
    """Days off by the State Council's calendar, from `effective_from` to `effective_to`; or days worked instead (调休)."""

    working: YesNo
    name_zh: Keys

    @model_validator(mode="after")
    def _closed(self) -> HolidayRow:
        if self.effective_to is None:
            raise ValueError("effective_to is empty: say the last day")
        if (self.effective_to - self.effective_from).days > 30:
            raise ValueError("more than 31 days on end: a year that is mistyped?")
        return self


class DeadlineRow(Row):
    """A term in working days (工作日), of one province or of all (`*`); a province's own line takes precedence."""

    deadline: Key
    province: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z-]*)$")]
    name_zh: Text
    working_days: Annotated[int, Field(ge=1, le=250)]
    counts_from: Text


class ExchangeLimitRow(Row):
    """Maximum duration of a state between provinces before an alarm, in seconds; a province's own line before `*`.

    status-silent: no trusted status of it arrived. set-differs: a set that it stores differs from the shared one.
    exchange-apply: it has not applied a repair, revocation or withdrawal; takes precedence over the term in working
    days of that name in deadlines.csv.
    """

    measure: Literal["status-silent", "set-differs", "exchange-apply"]
    province: Annotated[str, Field(pattern=r"^(\*|[a-z][a-z-]*)$")]
    name_zh: Text
    seconds: Annotated[int, Field(ge=1, le=100_000_000)]


@dataclass(frozen=True, slots=True)
class TimeRows:
    """All rows of the catalogue for computing with days."""

    levels: tuple[LevelRow, ...]
    list_periods: tuple[ListPeriodRow, ...]
    windows: tuple[WindowRow, ...]
    visibility: tuple[VisibilityRow, ...]
    holidays: tuple[HolidayRow, ...]
    deadlines: tuple[DeadlineRow, ...]
    exchange_limits: tuple[ExchangeLimitRow, ...] = ()
