"""Loading of the catalogue's files on time, and checks across them: no gap, no overlap, no undecided case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise, product
from typing import TYPE_CHECKING, TypeVar

from schemas.catalogue.rows import CodeRow, Row
from schemas.catalogue.time_rows import (
    ANY,
    UNSTATED,
    DeadlineRow,
    ExchangeLimitRow,
    HolidayRow,
    LevelRow,
    ListPeriodRow,
    TimeRows,
    VisibilityRow,
    WindowRow,
)

if TYPE_CHECKING:
    from schemas.catalogue.reader import Files

__all__ = ["read_time"]

R = TypeVar("R", bound=Row)
Numbered = Sequence[tuple[int, R]]

_DAY = timedelta(days=1)
_PHASES = ("NOT_YET", "DURING", "OVER")
_STATUSES = ("IN_FORCE", "REPAIRED", "REVOKED")


def read_time(files: Files, provinces: Collection[str], lists: Collection[str], codes: Iterable[CodeRow]) -> TimeRows:
    """Read the seven files; their faults are added to the problems of `files`."""
    levels = files.read("levels.csv", LevelRow)
    periods = files.read("list_periods.csv", ListPeriodRow)
    windows = files.read("windows.csv", WindowRow)
    visibility = files.read("visibility.csv", VisibilityRow)
    holidays = files.read("holidays.csv", HolidayRow)
    deadlines = files.read("deadlines.csv", DeadlineRow)
    limits = files.read("exchange_limits.csv", ExchangeLimitRow)
    known = {table: {row.code for row in codes if row.table == table} for table in ("level", "festival")}
    files.unique("levels.csv", levels, lambda row: row.level)
    files.unique("list_periods.csv", periods, lambda row: row.list)
    files.unique("windows.csv", windows, lambda row: row.kind)
    files.unique("deadlines.csv", deadlines, lambda row: (row.deadline, row.province))
    files.unique("exchange_limits.csv", limits, lambda row: (row.measure, row.province))
    files.refer("levels.csv", levels, lambda row: (row.level,), known["level"] | {UNSTATED}, "level", "codes.csv")
    files.refer("list_periods.csv", periods, lambda row: (row.list,), lists, "list", "lists.csv")
    files.refer("deadlines.csv", deadlines, lambda row: (row.province,), {*provinces, ANY}, "province", "provinces.csv")
    files.refer(
        "exchange_limits.csv", limits, lambda row: (row.province,), {*provinces, ANY}, "province", "provinces.csv"
    )
    for measure in ("status-silent", "set-differs"):
        if not any((row.measure, row.province, row.effective_to) == (measure, ANY, None) for _, row in limits):
            files.problems.append(
                f"exchange_limits.csv: no row of {measure} for * holds without an end: nothing would alarm"
            )
    level_keys = {row.level for _, row in levels}
    files.refer("visibility.csv", visibility, lambda row: (row.level,), level_keys | {ANY}, "level", "levels.csv")
    files.problems.extend(_absent("levels.csv", level_keys, known["level"] | {UNSTATED}))
    files.problems.extend(_absent("list_periods.csv", {row.list for _, row in periods}, lists))
    files.problems.extend(_absent("windows.csv", {row.kind for _, row in windows}, ("PENALTY", "LISTING")))
    files.problems.extend(_gaps("levels.csv", levels, lambda row: row.level))
    files.problems.extend(_gaps("list_periods.csv", periods, lambda row: row.list))
    files.problems.extend(_gaps("windows.csv", windows, lambda row: row.kind))
    files.problems.extend(_hidden_stay_hidden(visibility))
    files.problems.extend(_undecided(visibility, level_keys))
    files.problems.extend(_levels_agree(levels, [row for _, row in visibility]))
    files.problems.extend(_calendar(holidays, known["festival"]))
    return TimeRows(
        tuple(row for _, row in levels),
        tuple(row for _, row in periods),
        tuple(row for _, row in windows),
        tuple(row for _, row in visibility),
        tuple(row for _, row in holidays),
        tuple(row for _, row in deadlines),
        tuple(row for _, row in limits),
    )


def _absent(name: str, found: Collection[str], wanted: Iterable[str]) -> Iterator[str]:
    yield from (f"{name}: there is no line for {key!r}" for key in sorted(set(wanted) - set(found)))


def _gaps(name: str, rows: Numbered[R], key: Callable[[R], Hashable]) -> Iterator[str]:
    """Yield each end of a row that the next row of the same key does not follow on the day after."""
    by_key: defaultdict[Hashable, list[tuple[int, R]]] = defaultdict(list)
    for number, row in rows:
        by_key[key(row)].append((number, row))
    for of, found in by_key.items():
        ordered = sorted(found, key=lambda pair: pair[1].effective_from)
        for (_, earlier), (number, later) in pairwise(ordered):
            if earlier.effective_to is not None and later.effective_from > earlier.effective_to + _DAY:
                yield f"{name} line {number}: nothing holds for {of!r} after {earlier.effective_to} until this line"


def _hidden_stay_hidden(rows: Numbered[VisibilityRow]) -> Iterator[str]:
    # Neither statement has content: there is nothing to show.
    for number, row in rows:
        if row.answer == "yes" and row.status != "IN_FORCE":
            yield f"visibility.csv line {number}: only what is IN_FORCE has content that could be shown"


def _undecided(rows: Numbered[VisibilityRow], levels: Collection[str]) -> Iterator[str]:
    """Yield the cases that no line decides, on any day since a decision's first line."""
    for decision in ("publishable", "reportable"):
        lines = [row for _, row in rows if row.decision == decision]
        if not lines:
            yield f"visibility.csv: there is no line for {decision!r}"
            continue
        first = min(row.effective_from for row in lines)
        ends = {row.effective_to + _DAY for row in lines if row.effective_to is not None}
        for day in sorted({row.effective_from for row in lines} | {end for end in ends if end >= first}):
            holding = [row for row in lines if row.holds(day)]
            for case in _cases(levels):
                if not any(row.fits(*case) for row in holding):
                    yield f"visibility.csv: on {day} no line decides {decision} for {', '.join(filter(None, case))}"
                    break


def _cases(levels: Collection[str]) -> Iterator[tuple[str, str, str, str, str]]:
    kinds = [("PENALTY", level) for level in sorted(levels)] + [("LISTING", "")]
    for (kind, level), status, publication, window in product(kinds, _STATUSES, _PHASES, _PHASES):
        yield kind, level, status, publication, window


def _levels_agree(levels: Numbered[LevelRow], visibility: Sequence[VisibilityRow]) -> Iterator[str]:
    """Yield the levels that are published by levels.csv and not by visibility.csv, or the other way round."""
    lines = [row for row in visibility if row.decision == "publishable"]
    for number, level in levels:
        starts = {level.effective_from} | {row.effective_from for row in lines if level.holds(row.effective_from)}
        for day in sorted(starts):
            case = ("PENALTY", level.level, "IN_FORCE", "DURING", "DURING")
            first = next((row for row in lines if row.holds(day) and row.fits(*case)), None)
            if first is not None and first.answer != level.published:
                yield (
                    f"levels.csv line {number}: {level.level} published: {level.published}, but visibility.csv says"
                    f" {first.answer} from {day}: change both"
                )


def _calendar(rows: Numbered[HolidayRow], festivals: Collection[str]) -> Iterator[str]:
    """Yield the faults of the calendar: overlaps, missing years, missing festivals, days that change nothing."""
    ordered = sorted(rows, key=lambda pair: pair[1].effective_from)
    for (before, earlier), (number, later) in pairwise(ordered):
        if earlier.effective_to is not None and later.effective_from <= earlier.effective_to:
            yield f"holidays.csv line {number}: {later.effective_from} is in line {before} too"
    named: defaultdict[int, set[str]] = defaultdict(set)
    for number, row in ordered:
        last = row.effective_to or row.effective_from
        unknown = [name for name in row.name_zh if name not in festivals]
        if unknown or not row.name_zh:
            yield f"holidays.csv line {number}: festival {'; '.join(unknown)!r} is not in codes.csv"
        if row.working == "no":
            named[last.year] |= set(row.name_zh)
        elif any(day.weekday() < 5 for day in _days(row.effective_from, last)):
            yield f"holidays.csv line {number}: {row.effective_from} is worked anyway: 调休 is a Saturday or Sunday"
    if not named:
        yield "holidays.csv: it holds no year"
        return
    for year in range(min(named), max(named) + 1):
        missing = sorted(set(festivals) - named[year])
        if year not in named or len(missing) == len(festivals):
            yield f"holidays.csv: the year {year} is missing between {min(named)} and {max(named)}"
        elif missing:
            yield f"holidays.csv: the year {year} has no day off for {'、'.join(missing)}"


def _days(first: date, last: date) -> Iterator[date]:
    day = first
    while day <= last:
        yield day
        day += _DAY
