"""互认版: province × domain for one entity; each province is answerable for its part (docs/reading.md).

The province of the entity's current registration serves it. The function report.mutual_state computes the same in SQL
for the present; this module computes it for a day and for an earlier reading, from history and the other provinces'
states in the reading's token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from consumers.report.domain_states import DomainState, state_of, states_at
from consumers.report.history import PastRecords, records_at
from consumers.report.periods import Timed, rules_of, window_of
from consumers.report.registration import Registered, registered_at
from consumers.report.snapshot import Connection, Snapshot, rows_about, snapshot
from consumers.report.sources import domain_sources, judged
from consumers.report.token import Moment, PartBasis
from schemas.calendar.periods import china_day
from schemas.errors import UsageError
from schemas.records.registration import DOMAIN

__all__ = ["MutualState", "MutualView", "ServedElsewhere", "read_mutual", "read_mutual_in"]

Row = dict[str, Any]


class ServedElsewhere(UsageError):
    """This province does not serve the entity's 互认版; the message names the serving province, and since when.

    The question is valid: the command ends with 1, as with refusals.
    """

    exit_code = 1

    def __init__(self, message: str, *, province: str | None, since: date | None, source: str) -> None:
        super().__init__(message)
        self.province, self.since, self.source = province, since, source


@dataclass(frozen=True, slots=True)
class MutualState:
    """One cell: 有, 无, 待核 or 未归集 of a province in a domain, its basis, and until when it holds (UTC).

    `why` is the reason why the province's word does not hold, whatever the state: SOURCE (it cannot vouch for its
    sources), UNKNOWN (no checkpoint has the domain), DIFFERS (the stored rows differ from its shared ones), SILENT (no
    news for longer than its limit), NOT_SHARED (not mutual today), UNAWARE (it may not know yet that the entity is
    registered here); None if it holds.
    """

    province: str
    province_zh: str
    domain: str
    name_zh: str
    display_label: str
    state: str
    penalties: int
    listings: int
    pending: int
    data_as_of: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class MutualView:
    """The four provinces' states of one entity at one moment. Dates are China's; times UTC; money in 万元."""

    uscc: str
    name: str | None
    kind: str | None
    served_by: str
    """This province: the one of the registration, or (`registered.province_source` CODE) of the first registration."""
    window: tuple[date, date] | None
    on: date | None
    day: date
    anchors: dict[str, Any]
    states: tuple[MutualState, ...]
    """Province by province, in the order of GB/T 2260, domain by domain."""
    penalties: tuple[Row, ...]
    listings: tuple[Row, ...]
    """Records in these domains; each names its province and the authority that answers for it."""
    registered: Registered
    registrations_said: Mapping[str, tuple[datetime | None, str | None]]
    """Other province → 数据截至 of its registrations, and why its word does not hold; None if it does."""
    registrations_waiting: Mapping[str, int]
    """Other province → number of the entity's registrations that were refused there and wait."""
    moment: Moment
    erased: int
    """Statements that counted at that moment and have been erased since: revoked, or no longer shared by a province."""


def read_mutual(
    database: str,
    uscc: str,
    *,
    window_from: date | None = None,
    window_to: date | None = None,
    on: date | None = None,
    moment: Moment | None = None,
) -> MutualView:
    """Read one entity: as known now, for a report's window or for the day `on`; or all as in an earlier reading.

    Raises ServedElsewhere if another province serves it; UsageError if the code is no USCC, the window is longer than
    its rule allows, or the moment is no 互认版 of this entity and database; Retryable if PostgreSQL does not answer.
    """
    with snapshot(database, uscc) as connection:
        return read_mutual_in(connection, uscc, window_from=window_from, window_to=window_to, on=on, moment=moment)


def read_mutual_in(
    connection: Connection,
    uscc: str,
    *,
    window_from: date | None = None,
    window_to: date | None = None,
    on: date | None = None,
    moment: Moment | None = None,
) -> MutualView:
    """Like `read_mutual`, for a checked code, in the transaction of the caller, whose rows are dictionaries."""
    here = Snapshot.of(connection)
    if here.own is None:
        raise UsageError("the database does not say yet whose it is: start the view worker of this version once")
    if moment is not None:
        here.must_fit(moment)
        if moment.mutual is None or moment.mutual[0] != uscc:
            raise UsageError("this token is of no 互认版 of this entity: it gives again what it was given with")
    rules = rules_of(connection)
    if moment is not None:
        window, on = moment.window, moment.on
    else:
        window = None if on is not None else window_of(rules, window_from, window_to or china_day(here.now.read_at))
    timed = Timed(rules, window, on)
    chosen = moment or here.now.asked(window, on).of_entity(uscc, _said(connection, uscc, timed.day))
    assert chosen.mutual is not None
    said = chosen.mutual[1]
    names = {row["province"]: row["name_zh"] for row in _provinces(connection)}
    if window is not None and moment is None:
        found = _held(connection, uscc, timed)
    else:
        found = records_at(connection, uscc, chosen, timed)
    who = registered_at(connection, uscc, chosen, found.registrations, (found.name, found.kind))
    _must_be_served(here.own, uscc, who, names, china_day(chosen.read_at))
    if window is not None and moment is None:
        rows = connection.execute("SELECT * FROM report.mutual_state(%s, %s, %s)", (uscc, *window))
        states = tuple(MutualState(**row) for row in rows)
    else:
        states = _states_at(connection, here, uscc, chosen, timed, found, names)
    domains = {state.domain for state in states}
    return MutualView(
        uscc,
        who.name,
        who.kind,
        here.own,
        window,
        on,
        timed.day,
        timed.anchors(),
        states,
        tuple(row for row in found.penalties if row["domain"] in domains),
        tuple(row for row in found.listings if row["domain"] in domains),
        who,
        {province: one.domains.get(DOMAIN, (None, "UNKNOWN")) for province, one in said.items()},
        {province: one.waiting[DOMAIN] for province, one in said.items() if DOMAIN in one.waiting},
        chosen,
        found.erased,
    )


def _provinces(connection: Connection) -> Sequence[Row]:
    return connection.execute("SELECT province, name_zh FROM xinliu.province ORDER BY division").fetchall()


def _held(connection: Connection, uscc: str, timed: Timed) -> PastRecords:
    """Return the current records, as records_at would."""
    entity = connection.execute("SELECT name, kind FROM report.entity WHERE uscc = %s", (uscc,)).fetchone() or {}
    registrations = connection.execute("SELECT * FROM report.registration WHERE uscc = %s", (uscc,)).fetchall()
    return PastRecords(
        name=entity.get("name"),
        kind=entity.get("kind"),
        penalties=timed.penalties(rows_about(connection, "mutual_penalty", uscc, "decided_on")),
        listings=timed.listings(rows_about(connection, "mutual_listing", uscc, "listed_on")),
        registrations=tuple(registrations),
        erased=0,
    )


def _said(connection: Connection, uscc: str, day: date) -> dict[str, PartBasis]:
    """Return the current basis of the other provinces' parts."""
    domains: dict[str, dict[str, tuple[datetime | None, str | None]]] = {}
    for row in connection.execute("SELECT * FROM report.mutual_said(%s, %s)", (uscc, day)):
        domains.setdefault(row["province"], {})[row["domain"]] = row["data_as_of"], row["why"]
    waiting: dict[str, Counter[str]] = {}
    for row in connection.execute("SELECT province, domain, open FROM report.foreign_pending WHERE uscc = %s", (uscc,)):
        waiting.setdefault(row["province"], Counter())[row["domain"] or ""] += int(row["open"])
    return {province: PartBasis(told, waiting.get(province, {})) for province, told in domains.items()}


def _must_be_served(own: str, uscc: str, who: Registered, names: Mapping[str, str], today: date) -> None:
    ended = who.until is not None and who.until <= today
    if who.province == own and not ended:
        return
    if who.province is None:
        message = f"{uscc} 的互认版四省市均不提供:未见登记记录,代码所载行政区划不在京津冀晋"
    elif ended:
        message = (
            f"{uscc} 的互认版四省市均不提供:{names.get(who.province, who.province)}的登记已于 {who.until} 终止(迁出或注销),"
            "此后未见其他登记"
        )
    else:
        where = f"{names.get(who.province, who.province)}({who.province})"
        why = f"{who.since} 起登记在该地" if who.since else "未见登记记录,按代码所载首次登记地"
        message = f"{uscc} 的互认版由{where}提供:{why};请向该地查询"
    raise ServedElsewhere(
        message, province=None if ended else who.province, since=who.since, source=who.province_source
    )


def _states_at(
    connection: Connection,
    here: Snapshot,
    uscc: str,
    chosen: Moment,
    timed: Timed,
    found: PastRecords,
    names: Mapping[str, str],
) -> tuple[MutualState, ...]:
    """Return all cells as of a moment."""
    assert here.own is not None
    assert chosen.mutual is not None
    lines = _own(connection, here, uscc, chosen, timed, found)
    own = (_of_own(here.own, names[here.own], line) for line in lines)
    counted = timed.counted(found.penalties), timed.counted(found.listings)
    others = _foreign(lines, chosen.mutual[1], names, *counted)
    order = {province: place for place, province in enumerate(names)}
    return tuple(sorted((*own, *others), key=lambda cell: (order[cell.province], cell.domain)))


def _own(
    connection: Connection, here: Snapshot, uscc: str, chosen: Moment, timed: Timed, found: PastRecords
) -> tuple[DomainState, ...]:
    """Return this province's lines for the domains that are mutual on the day."""
    rows = connection.execute(
        "SELECT domain FROM xinliu.mutual_domain WHERE %s BETWEEN effective_from AND COALESCE(effective_to, 'infinity')",
        (timed.day,),
    )
    mutual = {row["domain"] for row in rows}
    fines, entries = (
        timed.counted(row for row in kind if row["province"] == here.own) for kind in (found.penalties, found.listings)
    )
    vouching = domain_sources(connection, judged(connection, here.sources, chosen))
    lines = states_at(connection, uscc, chosen, timed.day, fines, entries, vouching)
    return tuple(line for line in lines if line.domain in mutual)


def _of_own(province: str, name: str, line: DomainState) -> MutualState:
    return MutualState(
        province,
        name,
        line.domain,
        line.name_zh,
        line.display_label,
        line.state,
        line.penalties,
        line.listings,
        line.pending,
        line.data_as_of,
        "SOURCE" if line.state == "未归集" else None,
    )


def _foreign(
    lines: Collection[DomainState],
    said: Mapping[str, PartBasis],
    names: Mapping[str, str],
    penalties: Iterable[Row],
    listings: Iterable[Row],
) -> Iterable[MutualState]:
    """Yield the cells of the other provinces, for the domains of these lines."""
    by_penalty = Counter((row["province"], row["domain"]) for row in penalties)
    by_listing = Counter((row["province"], row["domain"]) for row in listings)
    for province, one in said.items():
        for line in lines:
            place = province, line.domain
            as_of, why = one.domains.get(line.domain, (None, "UNKNOWN"))
            # A waiting record without a domain counts in all.
            pending = one.waiting.get(line.domain, 0) + one.waiting.get("", 0)
            counts = by_penalty[place], by_listing[place]
            state = state_of(records=sum(counts), pending=pending, silent=why is not None)
            yield MutualState(
                province,
                names[province],
                line.domain,
                line.name_zh,
                line.display_label,
                state,
                *counts,
                pending,
                as_of,
                why,
            )
