"""Case events between provinces: validation on arrival, sharing with the others, and the projection into the store.

An event is one message under the key `case|<case>|<event>|<content>`. It changes only the stored state of its case, and
the set of events only grows, so it may arrive twice and in any order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
from psycopg.rows import dict_row

from schemas.cases.fold import CONTRACT, MOST_DAYS, PROCEDURES, Case, CaseEvent, fold, leader, speakers
from schemas.catalogue import Catalogue, load
from schemas.errors import Rejected
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.identifiers.uscc_check import check
from schemas.records.partitioning import partitions_of
from schemas.rules.texts import broken_texts
from schemas.store.sql_files import sql
from streams.exchange.carried.riders import OutgoingMessage

__all__ = [
    "Arrival",
    "CaseSharing",
    "case_fault",
    "case_key",
    "events_of",
    "partition_of",
    "project",
    "project_carried",
    "refold",
    "refusal",
]

Connection = psycopg.Connection[Any]

LONGEST_REASON = 1_000
_LONGEST_WORD = 200
_SKEW = timedelta(days=1)
"""Limit on how far ahead of the broker's clock an event may be dated: clocks differ, but not by days."""
_A_ROUND = 500
_HALVES = struct.Struct(">qq")
_CODES = ("case_id", "event_id", "record_id", "uscc")
"""Text fields with a format of their own."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event on its way into the store, with the time at which the broker took it.

    `body` (Avro) and `fingerprint` (of the body's writer schema) are set for our own events only.
    """

    event: CaseEvent
    recorded_at: datetime
    body: bytes | None = None
    fingerprint: str | None = None


def case_key(event: CaseEvent) -> str:
    """Return the key of an event's message. Two contents under one id get two keys: compaction keeps both."""
    return f"case|{event.case_id}|{event.event_id}|{event.content()}"


def partition_of(uscc: str) -> int:
    """Return the partition of `accepted` and of every exchange.* topic that carries an entity's messages."""
    return int(partitions_of(pl.Series([uscc]), EXCHANGE_PARTITIONS)[0])


def refusal(
    event: CaseEvent, catalogue: Catalogue, *, said_by: str, partition: int | None, received_at: datetime
) -> str | None:
    """Return why a province may not publish this event, or None if it may; no stored data decides it.

    `said_by` is the province whose topic carries the event, `partition` its partition in the exchange (None: in its own
    topic). Whether that province leads rightly depends on registrations that may arrive later; readers check it
    (`led_rightly`).
    """
    return next(_refusals(event, catalogue, said_by, partition, received_at), None)


def _refusals(
    event: CaseEvent, catalogue: Catalogue, said_by: str, partition: int | None, received_at: datetime
) -> Iterator[str]:
    try:
        lead = leader(event.case_id)
    except Rejected as error:
        yield str(error)
        return
    if event.province != said_by:
        yield f"{said_by} speaks as {event.province}"
    if event.province not in speakers(event):
        yield f"{event.kind} is for {' or '.join(sorted(speakers(event)))} to say, not for {event.province}"
    if event.procedure not in PROCEDURES:
        yield f"there is no procedure {event.procedure!r}"
    if not {lead, event.record_province} <= catalogue.provinces.keys():
        yield "it is led by, or about a record of, a province that is not in the catalogue"
    wrong = [code for code in check(event.uscc) if code != "USCC_CHECK_DIGIT"]
    if wrong:
        yield f"its entity's code is none ({', '.join(wrong)})"
    if partition is not None and partition != partition_of(event.uscc):
        yield f"it stands in partition {partition}, its entity in {partition_of(event.uscc)}"
    if not (_hex(event.event_id) and _hex(event.record_id)):
        yield "its id, or that of its record, is not 32 hexadecimal digits"
    if event.at > received_at + _SKEW:
        yield f"it is dated {event.at.isoformat()}, and was received {received_at.isoformat()}"
    if event.working_days is not None and not 1 <= event.working_days <= MOST_DAYS:
        yield f"it extends a term by {event.working_days} working days"
    yield from _texts(event)


def _texts(event: CaseEvent) -> Iterator[str]:
    words = {name: text for name, text in asdict(event).items() if isinstance(text, str) and name not in _CODES}
    if len(words.pop("reason")) > LONGEST_REASON or any(len(word) > _LONGEST_WORD for word in words.values()):
        yield "a text is longer than is kept"
    # Prefixed: in a statement `reason` and `kind` are codes, which that rule skips.
    texts = {f"case_{name}": text for name, text in {**words, "reason": event.reason}.items()}
    found = broken_texts(pl.DataFrame({name: [text] for name, text in texts.items()}), list(texts))
    broken = sorted({code for (code, _), marks in found.items() if marks.any()})
    if broken:
        yield f"its text breaks {', '.join(broken)}"


def case_fault(message: Mapping[str, Any], province: str, partition: int) -> str | None:
    """Return why a province may not publish a decoded Case; None if it may."""
    return refusal(CaseEvent.of(message), load(), said_by=province, partition=partition, received_at=datetime.now(UTC))


def project_carried(connection: Connection, came: Iterable[tuple[Mapping[str, Any], datetime]]) -> None:
    """Project events of other provinces, each decoded, with the time at which `accepted` received it."""
    project(connection, [Arrival(CaseEvent.of(value), known_at) for value, known_at in came])


def project(connection: Connection, arrivals: Iterable[Arrival]) -> list[str]:
    """Add events to the set and fold their cases again, in the caller's transaction; return the cases, sorted.

    Several writers may do so at once. Each locks its cases one by one, in the order of their ids: no writer folds less
    than is stored, and no two deadlock.
    """
    news = list(arrivals)
    cases = sorted({one.event.case_id for one in news})
    _lock(connection, cases)
    with connection.cursor() as cursor:
        cursor.executemany(sql("exchange/carried/event"), [_row(one) for one in news])
    _fold_into(connection, cases)
    return cases


def refold(connection: Connection) -> int:
    """Fold every case that has not ended again, with today's code, in several transactions; return their number."""
    cases = [str(row[0]) for row in connection.execute(sql("exchange/carried/unended"))]
    for begin in range(0, len(cases), _A_ROUND):
        some = cases[begin : begin + _A_ROUND]
        with connection.transaction():
            _lock(connection, some)
            _fold_into(connection, some)
    return len(cases)


def _lock(connection: Connection, cases: Sequence[str]) -> None:
    for case_id in cases:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('case ' || %s, 0))", (case_id,))


def events_of(connection: Connection, cases: Sequence[str]) -> list[CaseEvent]:
    """Return every stored event of these cases, in no order."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql("exchange/carried/events"), {"cases": list(cases)}).fetchall()
    return [CaseEvent.of({**row, "at": row["at"].astimezone(UTC)}) for row in rows]


class CaseSharing:
    """Rider of cases: our own events that concern other provinces, due until they were published."""

    def due(self, connection: Connection) -> Sequence[OutgoingMessage]:
        """Return the messages that are due in the caller's snapshot, oldest first."""
        rows = connection.execute(sql("exchange/carried/unshared"), {"limit": _A_ROUND}).fetchall()
        return [
            OutgoingMessage(
                partition_of(uscc), f"case|{case_id}|{event_id}|{content}", CONTRACT, bytes(body), fingerprint,
                told=(case_id, event_id, content),
            )
            for case_id, event_id, content, uscc, body, fingerprint in rows
        ]  # fmt: skip

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Mark these as published, in the caller's transaction; unmarked ones are published again."""
        if messages:
            cases, events, contents = zip(*(one.told for one in messages), strict=True)
            told = {"cases": list(cases), "events": list(events), "contents": list(contents)}
            connection.execute(sql("exchange/carried/shared"), told)


def _row(arrival: Arrival) -> Mapping[str, Any]:
    extra = {name: getattr(arrival, name) for name in ("recorded_at", "body", "fingerprint")}
    return {**asdict(arrival.event), **extra, "content": arrival.event.content()}


def _fold_into(connection: Connection, cases: Sequence[str]) -> None:
    by_case: dict[str, list[CaseEvent]] = {}
    for event in events_of(connection, cases):
        by_case.setdefault(event.case_id, []).append(event)
    folded = (fold(by_case[case_id]) for case_id in cases)
    with connection.cursor() as cursor:
        cursor.executemany(sql("exchange/carried/state"), [_state(case) for case in folded if case is not None])


def _state(case: Case) -> Mapping[str, Any]:
    answer, of = case.answer, case.opened
    high, low = _HALVES.unpack(bytes.fromhex(answer.digest)) if answer and answer.digest else (None, None)
    return {
        "case_id": case.case_id,
        "lead": case.lead,
        "procedure": of.procedure,
        "uscc": of.uscc,
        "record_id": of.record_id,
        "record_province": of.record_province,
        "department": of.department,
        "state": case.state,
        "opened_at": of.at,
        "opened_version": of.version,
        "accepted_at": case.accepted.at if case.accepted else None,
        "forwarded_at": case.forwarded.at if case.forwarded else None,
        "answered_at": answer.at if answer else None,
        "outcome": answer.outcome if answer else None,
        "answer_version": answer.version if answer else None,
        "answer_digest_hi": high,
        "answer_digest_lo": low,
        "ended_at": case.ended.at if case.ended else None,
        "events": len(case.events),
        "void": len(case.void),
    }


def _hex(text: str) -> bool:
    return len(text) == 32 and all(one in "0123456789abcdef" for one in text)
