"""Cases (异议, 更正, 更新, 修复) across provinces: their events, who may write each, and the fold to a state.

A case is opened where the entity is registered and led by that province. The province and department that made the
record answer it. Its state is a fold over the set of its events: any order, any duplication, the same state. Nothing
here changes a record: the result of a case is a statement of the department, which the answer names by version and
digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from typing import Any, Final

from schemas.contracts.codec import encode
from schemas.errors import Rejected
from schemas.records.identity import digest as body_digest
from schemas.records.identity import digest_hex

__all__ = [
    "CONTRACT", "KINDS", "MOST_DAYS", "OUTCOMES", "PROCEDURES", "STATES", "Case", "CaseEvent", "Procedure", "Void", "about", "derived_id",
    "fold", "fold_all", "in_milliseconds", "leader", "new_case_id", "speakers",
]  # fmt: skip

CONTRACT: Final = "xinliu.Case"

LEAD, SOURCE, EITHER = "LEAD", "SOURCE", "EITHER"

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "OPENED": (LEAD, "收到"),
    "ACCEPTED": (LEAD, "受理"),
    "DECLINED": (LEAD, "不予受理"),
    "FORWARDED": (LEAD, "转办"),
    "ANSWERED": (SOURCE, "答复"),
    "EXTENDED": (SOURCE, "延期"),
    "CLOSED": (LEAD, "办结"),
    "CANCELLED": (LEAD, "申请人撤回"),
    "REMINDED": (LEAD, "提醒"),
    "ESCALATED": (LEAD, "督办"),
    "NOTED": (EITHER, "说明"),
}
"""Kind of event → its author (the leading province, the record's province, or either) and its Chinese name."""

_PLACE = {kind: place for place, kind in enumerate(KINDS)}
"""Order of events within one millisecond: the order of steps in a case."""

STATES: Final[Mapping[str, str]] = {
    "OPENED": "已收到",
    "ACCEPTED": "已受理",
    "FORWARDED": "已转办",
    "ANSWERED": "已答复",
    "CLOSED": "已办结",
    "DECLINED": "不予受理",
    "CANCELLED": "已撤回",
}
"""States of a case, in the order in which it reaches them; the last three end it."""

OUTCOMES: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "UPHELD": ("维持", frozenset()),
    "CORRECTED": ("更正", frozenset({"CORRECTED"})),
    "REVOKED": ("撤销", frozenset({"REVOKED"})),
    "REPAIRED": ("修复", frozenset({"REPAIRED"})),
    "REMOVED": ("移出", frozenset({"REMOVED"})),
}
"""Outcome of an answer → its Chinese name, and the reasons of which the named statement must bear one.

UPHELD needs none: any current statement is upheld, as long as it bears no mark any more.
"""


@dataclass(frozen=True, slots=True)
class Procedure:
    """A kind of case: whether its record is marked (异议标注) meanwhile, and its terms by step, as keys of deadlines.csv.

    `answer_own` is the term of the answer if the leading province made the record itself.
    """

    name_zh: str
    marks: bool
    accept: str
    forward: str
    answer: str
    answer_own: str
    close: str
    mark: str = "objection-mark"
    answer_from: str = "FORWARD"
    """Step from whose end the term of the answer counts."""


_OBJECTION = ("objection-accept", "objection-forward", "objection-source", "objection-own", "objection-close")

PROCEDURES: Final[Mapping[str, Procedure]] = {
    "OBJECTION": Procedure("异议", True, *_OBJECTION),
    "CORRECTION": Procedure("更正", True, *_OBJECTION),
    "UPDATE": Procedure("更新", False, *_OBJECTION),
    "REPAIR": Procedure(
        "信用修复", False, "repair-accept", "repair-forward", "repair-decide", "repair-decide", "repair-close",
        answer_from="ACCEPT",
    ),
}  # fmt: skip
"""The kinds of cases. The rules require the mark on an objection; that a correction is marked, and an update or repair
is not, is our choice (decision 043).
"""

MOST_DAYS: Final = 250
"""Maximum number of working days by which one EXTENDED event lengthens a term."""

_DIGEST = re.compile(r"[0-9a-f]{32}")
_CASE_ID = re.compile(r"([a-z][a-z-]*)-(\d{8})-([0-9a-f]{8})")
_ABOUT = ("procedure", "uscc", "record_id", "record_province", "department")


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """An event of a case, as schemas/avro/Case.avsc defines it; times in UTC, in whole milliseconds."""

    case_id: str
    event_id: str
    kind: str
    province: str
    by: str
    at: datetime
    procedure: str
    uscc: str
    record_id: str
    record_province: str
    department: str
    reason: str = ""
    outcome: str | None = None
    version: int | None = None
    digest: str | None = None
    answer: str | None = None
    step: str | None = None
    due: date | None = None
    working_days: int | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> CaseEvent:
        """Return the event of a decoded message; fields of later versions are ignored."""
        return cls(**{one.name: value[one.name] for one in fields(cls)})

    def body(self) -> bytes:
        """Return its Avro body. Raises Rejected if a field does not fit the contract."""
        return encode(CONTRACT, asdict(self))

    def content(self) -> str:
        """Return the digest of its content: of two events with one id, the one with the lower digest counts."""
        return digest_hex(*body_digest(self.body()))


@dataclass(frozen=True, slots=True)
class Void:
    """An event that does not count, and the reason."""

    event: CaseEvent
    why: str


@dataclass(frozen=True, slots=True)
class Case:
    """The state of a case, folded from its events."""

    opened: CaseEvent
    accepted: CaseEvent | None
    forwarded: CaseEvent | None
    answer: CaseEvent | None
    """The answer that counts: the one with which the case is closed, else the last."""
    ended: CaseEvent | None
    """CLOSED, DECLINED or CANCELLED."""
    extended: int
    """Working days added to the term of the answer."""
    reminded: frozenset[tuple[str, date]]
    escalated: frozenset[tuple[str, date]]
    """Steps for which this event was written, with the last day of their term."""
    events: tuple[CaseEvent, ...] = field(repr=False)
    """All events that count, oldest first."""
    void: tuple[Void, ...] = field(repr=False)

    @property
    def case_id(self) -> str:
        """Its id: leading province, day, number."""
        return self.opened.case_id

    @property
    def lead(self) -> str:
        """The leading province."""
        return self.opened.province

    @property
    def procedure(self) -> Procedure:
        """Its kind."""
        return PROCEDURES[self.opened.procedure]

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.ended is not None:
            return self.ended.kind
        reached = (("ANSWERED", self.answer), ("FORWARDED", self.forwarded), ("ACCEPTED", self.accepted))
        return next((state for state, event in reached if event is not None), "OPENED")


def about(event: CaseEvent) -> tuple[str, ...]:
    """Return the common fields of all events of a case: procedure, entity, record, its province and its department."""
    return tuple(getattr(event, name) for name in _ABOUT)


def leader(case_id: str) -> str:
    """Return the leading province of a case: the first part of its id. Raises Rejected if that is no case id."""
    match = _CASE_ID.fullmatch(case_id)
    if match is None:
        raise Rejected(f"{case_id[:80]!r} is no case id: it is PROVINCE-YYYYMMDD-8 hexadecimal digits")
    return match[1]


def speakers(event: CaseEvent) -> frozenset[str]:
    """Return the provinces that may write an event of its kind; for an unknown kind every province in the case.

    Raises Rejected if its case id is invalid.
    """
    lead, source = leader(event.case_id), event.record_province
    who, _ = KINDS.get(event.kind, (EITHER, ""))
    return frozenset({LEAD: (lead,), SOURCE: (source,), EITHER: (lead, source)}[who])


def new_case_id(province: str, day: date, seed: bytes) -> str:
    """Return a new case id; `day` is a day in China, `seed` anything that makes the id unique.

    >>> new_case_id("hebei", date(2026, 11, 25), b"1")
    'hebei-20261125-fc942c07'
    """
    return f"{province}-{day:%Y%m%d}-{hashlib.blake2b(seed, digest_size=4).hexdigest()}"


def derived_id(case_id: str, kind: str, step: str, due: date) -> str:
    """Return the event id of a reminder: the same for every writer and every repetition."""
    return hashlib.blake2b(f"{case_id}|{kind}|{step}|{due}".encode(), digest_size=16).hexdigest()


def fold_all(events: Iterable[CaseEvent]) -> dict[str, Case]:
    """Fold the events of several cases, by case id, sorted; a case without an opening is left out."""
    by_case: dict[str, list[CaseEvent]] = {}
    for event in events:
        by_case.setdefault(event.case_id, []).append(event)
    folded = {case_id: fold(found) for case_id, found in sorted(by_case.items())}
    return {case_id: case for case_id, case in folded.items() if case is not None}


def fold(events: Iterable[CaseEvent]) -> Case | None:
    """Fold the events of one case into its state; None if no opening is known.

    A function of the set of events: order and duplication do not matter. An event by a province without the right to
    write it, or about another record than the case was opened for, does not count.
    """
    ordered = _once(events)
    openings = [one for one in ordered if one.kind == "OPENED" and not any(_objections(one, None))]
    if not openings:
        return None
    opened = openings[0]
    counted, void = list[CaseEvent](), list[Void]()
    for event in ordered:
        why = next(_objections(event, opened), None)
        if why is None:
            counted.append(event)
        else:
            void.append(Void(event, why))
    answers = [one for one in counted if one.kind == "ANSWERED"]
    known = {one.event_id: one for one in answers}
    ends = [
        one
        for one in counted
        if one.kind in ("DECLINED", "CANCELLED") or (one.kind == "CLOSED" and one.answer in known)
    ]
    ended = ends[0] if ends else None
    closing = known[ended.answer or ""] if ended is not None and ended.kind == "CLOSED" else None
    forwarded = _first(counted, "FORWARDED")
    return Case(
        opened,
        _first(counted, "ACCEPTED") or forwarded,  # a forwarded case has been accepted
        forwarded,
        closing or (answers[-1] if answers else None),
        ended,
        sum(one.working_days or 0 for one in counted if one.kind == "EXTENDED"),
        _steps(counted, "REMINDED"),
        _steps(counted, "ESCALATED"),
        tuple(counted),
        tuple(void),
    )


def _once(events: Iterable[CaseEvent]) -> list[CaseEvent]:
    # Event ids are unique within a province: no province can replace another's event by reusing its id.
    kept: dict[tuple[str, str], CaseEvent] = {}
    for event in events:
        key = (event.province, event.event_id)
        held = kept.get(key)
        if held is None or (event != held and event.content() < held.content()):
            kept[key] = event
    return sorted(
        kept.values(), key=lambda one: (one.at, _PLACE.get(one.kind, len(_PLACE)), one.province, one.event_id)
    )


def _objections(event: CaseEvent, opened: CaseEvent | None) -> Iterator[str]:
    """Yield the reasons why an event does not count; none if it counts."""
    if event.kind not in KINDS:
        yield f"kind {event.kind!r} is not known here"
    if opened is not None and about(event) != about(opened):
        yield "it speaks of another record, entity, department or procedure than the case was opened for"
    if event.province not in speakers(event):
        yield f"{event.kind} is for {' or '.join(sorted(speakers(event)))} to say, not for {event.province}"
    if event.kind == "OPENED" and event.procedure not in PROCEDURES:
        yield f"procedure {event.procedure!r} is not known here"
    if event.kind == "OPENED" and opened is not None and event != opened:
        yield "the case had been opened already"
    if event.kind == "ANSWERED" and not _answers(event):
        yield "an answer says what came of it, and names the statement by version and digest"
    if event.kind == "EXTENDED" and not 1 <= (event.working_days or 0) <= MOST_DAYS:
        yield f"a term is extended by 1 to {MOST_DAYS} working days"


def _answers(event: CaseEvent) -> bool:
    return event.outcome in OUTCOMES and event.version is not None and _DIGEST.fullmatch(event.digest or "") is not None


def _first(counted: Iterable[CaseEvent], kind: str) -> CaseEvent | None:
    return next((one for one in counted if one.kind == kind), None)


def _steps(counted: Iterable[CaseEvent], kind: str) -> frozenset[tuple[str, date]]:
    return frozenset((one.step, one.due) for one in counted if one.kind == kind and one.step and one.due)


def in_milliseconds(time: datetime) -> datetime:
    """Return a time in UTC, cut to the milliseconds of the contract."""
    utc = time.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
