"""The server watch: queries the servers every few seconds, in a thread of its own, for figures that the work does not
know.

These are the ends of the logs (lag), the times that sources vouch for and the waiting rows (PostgreSQL), and whether
each server answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, time
from typing import Protocol

import psycopg
import structlog

from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.servers.registry import RegistryAddress
from schemas.store.sql_files import sql
from streams.intake.schema_ids import Meanings
from streams.kafka.ranges import Logs
from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import (
    EXCHANGE_WAITING,
    INTAKE_LAG,
    LOG_FIRST_OFFSET,
    LOG_LOST,
    OUTBOX,
    POSITION,
    QUALITY,
    QUARANTINE_OPEN,
    RECORDS,
    REGISTRATIONS_CONTESTED,
    SOURCE_AS_OF,
    SOURCE_SILENT,
    SOURCE_STATE,
    VIEW_LAG,
)
from streams.runtime.service import Connection, DatabaseSession, Service

__all__ = [
    "BEGINNINGS_EVERY", "EVERY", "QUALITY_EVERY", "SCHEMAS_EVERY", "Beginnings", "IntakeLag", "SchemaLook", "StoreWatch", "Watch",
    "in_turn",
]  # fmt: skip

EVERY = 5.0
"""Seconds between two rounds."""

QUALITY_EVERY = 60.0
"""Seconds between two readings of the month's figures: they move slowly, and are sums of some thousand rows."""

BEGINNINGS_EVERY = 15.0
"""Seconds between two readings of the beginnings of the logs."""

SCHEMAS_EVERY = 60.0
"""Seconds between two checks of the schema ids' meanings."""

Place = tuple[str, int]

log = structlog.get_logger()

_RETAINED = frozenset({"quarantine"})
_RETAINED_SECONDS = 360 * 86_400.0
"""Messages in these topics are kept for 365 days (deploy/cluster/topics.py)."""

_STATES = ("正常", "迟", "中断")
_INDICATORS = ("accepted", "refused", "published", "late", "corrected", "conflicts")


class Watch(Service):
    """Rounds of the servers: `looks` are made in this order, each queries the server of its name; `close` comes at the end."""

    waits = "watch.waits"
    transient = ()  # `look` reports a server that does not answer, and goes on to the next

    def __init__(
        self,
        probe: Probe,
        looks: Mapping[str, Callable[[], None]],
        *,
        every: float = EVERY,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._probe, self._looks, self._every, self._close = probe, dict(looks), every, close

    def run(self) -> None:
        """Make rounds until stopped."""
        super().run()
        self._probe.ended("watch")

    def close(self) -> None:
        """Close the connections of the looks."""
        self._close()

    def _round(self) -> float:
        self._probe.beat("watch")
        self.look()
        return self._every

    def look(self) -> None:
        """Query each server once. If one does not answer, report that; its last figures stay."""
        for server, look in self._looks.items():
            asked = time()
            try:
                look()
            except (Retryable, UsageError, psycopg.OperationalError) as error:  # a refusal may be lifted
                self._probe.silent(server, str(error))
            else:
                self._probe.answered(server, asked=asked)


def in_turn(*calls: Callable[[], None]) -> Callable[[], None]:
    """Return a function that makes these calls in turn, up to the first that fails."""

    def call() -> None:
        for one in calls:
            one()

    return call


class IntakeLag:
    """The number of messages of each assigned input partition that are not forwarded.

    `standing` returns the offset of each assigned partition: every message before it is forwarded.
    """

    def __init__(
        self, instruments: Instruments, logs: Logs, topics: Iterable[Place], standing: Callable[[], Mapping[Place, int]]
    ) -> None:
        self._lag = instruments.latest(INTAKE_LAG)
        self._logs = logs
        self._places = list(topics)
        self._standing = standing

    def look(self) -> None:
        """Query Kafka. Raises Retryable if it does not answer."""
        ends = self._logs.ends(self._places)
        # Read after the ends: messages that came meanwhile do not count as lag.
        self._lag.replace(
            {
                (topic.removeprefix("records."), str(partition)): max(0, ends[topic, partition] - offset)
                for (topic, partition), offset in self._standing().items()
                if (topic, partition) in ends
            }
        )


class SchemaLook:
    """The check that the schema ids seen by intake keep their meanings; it queries the registry anew, by a client of
    its own."""

    def __init__(self, registry: RegistryAddress | str, meanings: Meanings) -> None:
        self._registry, self._meanings = Registry(registry), meanings
        self._looked_at = -SCHEMAS_EVERY

    def look(self) -> None:
        """Check. Raises Retryable if the registry does not answer."""
        self._registry.ask()
        if monotonic() - self._looked_at < SCHEMAS_EVERY:
            return
        for schema_id in tuple(self._meanings.ids):
            self._registry.forget(schema_id)
            try:
                self._meanings.holds(self._registry.writer(schema_id))
            except NotDecodable:
                continue  # noted by `holds`; an id that is gone has no other meaning
        self._looked_at = monotonic()


class Broker(Protocol):
    """The beginnings of a broker's logs (streams.kafka.ranges.Logs)."""

    def firsts(self, partitions: Iterable[Place]) -> Mapping[Place, int]:
        """Return the first offset that each log still holds."""

    def since(self, partitions: Iterable[Place], moment: float) -> Mapping[Place, int]:
        """Return the first offset of each log at that time or later; a log without one is left out."""


class Beginnings:
    """The beginnings of logs that keep every message, or those of a fixed time as `quarantine` does: no other figure
    shows that a log lost its beginning."""

    def __init__(self, instruments: Instruments, logs: Broker, *, clock: Callable[[], float] = time) -> None:
        self._first, self._lost = instruments.latest(LOG_FIRST_OFFSET), instruments.latest(LOG_LOST)
        self._logs, self._clock = logs, clock
        self._young: dict[Place, int] = {}
        self._gone = set[Place]()
        self._looked_at = -BEGINNINGS_EVERY

    def look(self, places: Sequence[Place]) -> None:
        """Query Kafka, every BEGINNINGS_EVERY seconds at most. Raises Retryable if it does not answer."""
        if monotonic() - self._looked_at < BEGINNINGS_EVERY:
            return
        first = self._logs.firsts(places)
        for place, offset in first.items():
            if offset > (self._young.get(place, offset) if place[0] in _RETAINED else 0) and place not in self._gone:
                self._gone.add(place)
                log.error("watch.log_lost", topic=place[0], partition=place[1], begins_at=offset)
        retained = [place for place in places if place[0] in _RETAINED]
        # Younger messages must be there at the next look.
        self._young = dict(self._logs.since(retained, self._clock() - _RETAINED_SECONDS))
        self._gone &= {place for place in first if first[place] > 0}
        self._first.replace({(topic, str(partition)): offset for (topic, partition), offset in first.items()})
        self._lost.replace({(topic, str(p)): float((topic, p) in self._gone) for topic, p in first})
        self._looked_at = monotonic()


class StoreWatch(DatabaseSession):
    """The figures in PostgreSQL, and the lag of the view: the position that counts is the one in PostgreSQL.

    `kept` are logs beside those of the view that keep everything.
    """

    def __init__(
        self,
        instruments: Instruments,
        logs: Logs,
        places: Iterable[Place],
        database: str,
        *,
        generation: int,
        kept: Iterable[Place] = (),
    ) -> None:
        super().__init__(database, generation=generation)
        self._logs, self._places, self._kept = logs, list(places), list(kept)
        self._ends: Mapping[Place, int] = {}
        self._positions: Mapping[Place, int] = {}
        self._begins = Beginnings(instruments, logs)
        self._lag = instruments.latest(VIEW_LAG)
        self._position = instruments.latest(POSITION)
        self._as_of = instruments.latest(SOURCE_AS_OF)
        self._silent = instruments.latest(SOURCE_SILENT)
        self._state = instruments.latest(SOURCE_STATE)
        self._quality = instruments.latest(QUALITY)
        self._quality_at = -QUALITY_EVERY
        self._quarantine = instruments.latest(QUARANTINE_OPEN)
        self._records = instruments.latest(RECORDS)
        self._outbox = instruments.latest(OUTBOX)
        self._exchange = instruments.latest(EXCHANGE_WAITING)
        self._contested = instruments.latest(REGISTRATIONS_CONTESTED)

    def look_at_kafka(self) -> None:
        """Read the beginnings and ends of the logs. Raises Retryable if Kafka does not answer."""
        self._ends = self._logs.ends(self._places)
        self._begins.look([*self._places, *self._kept])

    def look_at_postgres(self) -> None:
        """Read everything else. Raises Retryable or psycopg.OperationalError if PostgreSQL does not answer."""
        try:
            self._look()
        except psycopg.OperationalError:
            self.close()
            raise
        finally:
            self._report_lag()  # it must be seen to grow while PostgreSQL does not answer

    def _set_up(self, connection: Connection) -> None:
        # A look that takes longer would itself be the load.
        connection.execute("SET statement_timeout = '10s'")

    def _look(self) -> None:
        run = self._connected().execute
        positions = run("SELECT topic, partition, next_offset FROM position").fetchall()
        self._positions = {(topic, partition): offset for topic, partition, offset in positions}
        self._position.replace({(topic, str(p)): offset for (topic, p), offset in self._positions.items()})
        sources = run(sql("workers/sources")).fetchall()
        self._as_of.replace({(department,): as_of for department, as_of, _, _ in sources if as_of is not None})
        self._silent.replace({(department,): float(state == "中断") for department, _, state, _ in sources})
        self._state.replace({(department,): float(_STATES.index(state)) for department, _, state, _ in sources})
        self._quarantine.replace({(department,): waiting for department, _, _, waiting in sources})
        records, outbox, exchange = run(sql("workers/sizes")).fetchone() or (0, 0, 0)
        self._records.replace({(): records})
        self._outbox.replace({(): outbox})
        self._exchange.replace({(): exchange})
        if monotonic() - self._quality_at >= QUALITY_EVERY:
            figures = {(department, indicator): n for department, indicator, n in run(sql("workers/quality"))}
            departments = {department for department, _ in figures}
            self._quality.replace({(d, i): figures.get((d, i), 0) for d in departments for i in _INDICATORS})
            (contested,) = run(sql("workers/contested")).fetchone() or (0,)
            self._contested.replace({(): contested})
            self._quality_at = monotonic()

    def _report_lag(self) -> None:
        self._lag.replace(
            {
                (topic, str(partition)): max(0, self._ends[topic, partition] - offset)
                for (topic, partition), offset in self._positions.items()
                if (topic, partition) in self._ends
            }
        )
