"""The docket: projects this province's case events, and writes reminders and escalations of the cases that it leads.

It runs in a thread of the view worker; one worker of several leads. The position in `cases` moves in the transaction of
its effect. A reminder is an event like any other, and its id follows from case, step and day: if a crash or a second
worker writes it twice, it counts once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from time import monotonic
from typing import Any

import structlog
from psycopg.rows import dict_row

from schemas.calendar.periods import china_day
from schemas.calendar.workdays import NoCalendar, Workdays
from schemas.cases.fold import Case, CaseEvent, derived_id, fold_all, in_milliseconds
from schemas.cases.terms import Call, Facts, Terms
from schemas.catalogue import Catalogue
from schemas.contracts.registry import Registry
from schemas.servers.connection import Connection as Settings
from schemas.store.sql_files import sql
from streams.cases.log import TOPIC, CaseReader, CaseWriter
from streams.exchange.carried.cases import Arrival, events_of, project, refold, refusal
from streams.runtime.locks import CASES, Lead
from streams.runtime.service import Connection, Service

__all__ = ["Docket", "facts_of", "reminder", "terms_of"]

log = structlog.get_logger()

_EVERY = 60.0
"""Seconds between two searches for due steps, if there is no new event and the day has not changed."""
_STANDBY = 5.0


def terms_of(catalogue: Catalogue) -> Terms:
    """Return the terms of cases as the catalogue has them."""
    return Terms(Workdays(catalogue.time.holidays), catalogue.time.deadlines)


def facts_of(connection: Connection, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the state of the records of these cases, rows of the view case_standing, by case id."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql("cases/standing"), {"cases": list(cases)}).fetchall()
    return {row["case_id"]: row for row in rows}


def reminder(case: Case, call: Call, *, by: str, at: datetime) -> CaseEvent:
    """Return the event that reminds of a step, or escalates it."""
    step, of = call.step, case.opened
    assert step.due is not None
    return CaseEvent(
        case_id=case.case_id,
        event_id=derived_id(case.case_id, call.kind, step.step, step.due),
        kind=call.kind,
        province=case.lead,
        by=by,
        at=in_milliseconds(at),
        procedure=of.procedure,
        uscc=of.uscc,
        record_id=of.record_id,
        record_province=of.record_province,
        department=of.department,
        step=step.step,
        due=step.due,
    )


class Docket(Service):
    """Keeps the cases of one province in a thread of its own.

    `reader` opens a reader of `cases` (a new one after each failure); `now` is the clock that gives China's day.
    """

    waits = "cases.waits"

    def __init__(
        self,
        database: str,
        catalogue: Catalogue,
        *,
        province: str,
        generation: int,
        topic_id: str,
        reader: Callable[[], CaseReader],
        writer: Callable[[], CaseWriter],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(database, generation=generation)
        self.lead = Lead(CASES)
        self._catalogue, self._terms = catalogue, terms_of(catalogue)
        self._province, self._topic_id = province, topic_id
        self._open_reader, self._open_writer, self._now = reader, writer, now
        self._by = f"cases@{socket.gethostname()}"
        self._reader: CaseReader | None = None
        self._writer: CaseWriter | None = None
        self._looked: tuple[date, float] | None = None

    @classmethod
    def of(cls, connection: Settings, catalogue: Catalogue, *, generation: int, topic_id: str) -> Docket:
        """Return the docket of a view worker; `topic_id` is that of `cases`."""
        registry = Registry(connection.registry)  # one of its own: the client of the work is in use by another thread
        return cls(
            connection.database.get_secret_value(),
            catalogue,
            province=connection.province,
            generation=generation,
            topic_id=topic_id,
            reader=lambda: CaseReader(connection.kafka, registry, principal="view"),
            writer=lambda: CaseWriter(connection.kafka, registry),
        )

    def _round(self) -> float:
        return 0.0 if self.step() else _STANDBY

    def close(self) -> None:
        """Close reader and connection; the next step opens others."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._looked = None
        super().close()

    def step(self, *, wait: float = 0.2) -> bool:
        """Project new events, and write the due reminders; false if another worker leads.

        Wait up to `wait` seconds for an event: a stop takes so long at most.
        """
        if not self._leads():
            return False
        connection, reader = self._connected(), self._reader
        assert reader is not None
        arrivals = reader.read(wait)
        if arrivals:
            with connection.transaction():
                project(connection, [one for one in arrivals if self._sayable(one)])
                self._advance(connection, reader.position)
            self._looked = None
        if reader.at_end:
            self._look(connection)
        return True

    def due(self, connection: Connection, now: datetime) -> list[CaseEvent]:
        """Return the reminders and escalations of this province's cases that are due now and not written yet."""
        rows = connection.execute(sql("cases/open_led"), {"province": self._province}).fetchall()
        ids = [str(row[0]) for row in rows]
        facts, found = facts_of(connection, ids), list[CaseEvent]()
        for case_id, case in fold_all(events_of(connection, ids)).items():
            standing = facts[case_id]
            try:
                calls = self._terms.calls(case, Facts(standing["marked_at"], standing["arrived_at"]), china_day(now))
            except NoCalendar as error:
                log.error("cases.no_calendar", case=case_id, why=str(error))
                continue
            found += [reminder(case, call, by=self._by, at=now) for call in calls]
        return found

    def _look(self, connection: Connection) -> None:
        now = self._now()
        day = china_day(now)
        if self._looked is not None and self._looked[0] == day and monotonic() - self._looked[1] < _EVERY:
            return
        events = self.due(connection, now)
        if events:
            if self._writer is None:
                self._writer = self._open_writer()
            self._writer.write(*events)
            for event in events:
                log.warning(
                    "cases.overdue" if event.kind == "ESCALATED" else "cases.reminded",
                    case=event.case_id, step=event.step, due=str(event.due), department=event.department,
                )  # fmt: skip
        self._looked = (day, monotonic())

    def _sayable(self, arrival: Arrival) -> bool:
        why = refusal(
            arrival.event, self._catalogue, said_by=self._province, partition=None, received_at=arrival.recorded_at
        )
        if why is not None:
            log.error("cases.counts_for_nothing", case=arrival.event.case_id, kind=arrival.event.kind, why=why)
        return why is None

    def _begin(self, connection: Connection) -> None:
        refold(connection)
        self._reader = self._open_reader()
        self._reader.seek(self._position(connection))

    def _position(self, connection: Connection) -> int:
        row = connection.execute("SELECT topic_id, next_offset FROM xinliu.case_position").fetchone()
        if row is None:
            return 0
        topic_id, offset = row
        if topic_id != self._topic_id:
            log.warning("cases.topic_made_anew", topic=TOPIC, was=topic_id, now=self._topic_id, goes_on_at=0)
            return 0
        return int(offset)

    def _advance(self, connection: Connection, offset: int) -> None:
        connection.execute(
            "INSERT INTO xinliu.case_position (topic_id, next_offset) VALUES (%s, %s)"
            " ON CONFLICT (singleton) DO UPDATE SET topic_id = excluded.topic_id, next_offset = excluded.next_offset",
            (self._topic_id, offset),
        )
