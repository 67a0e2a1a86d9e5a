"""The watch: asks the servers every few seconds, in a thread of its own, for what the work itself does not know.

How far the logs reach (lag), what the sources vouch for and what waits (PostgreSQL), and whether each server answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, time
from typing import Any, Protocol

import psycopg
import structlog

from schemas.contracts.codec import NotDecodable
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.servers.registry import RegistryAddress
from schemas.store.database import connect
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

__all__ = [
    "BEGINNINGS_EVERY", "EVERY", "QUALITY_EVERY", "SCHEMAS_EVERY", "Beginnings", "IntakeLag", "SchemaLook", "StoreWatch", "Watch",
    "in_turn",
]  # fmt: skip

EVERY = 5.0
"""Seconds between two rounds."""

QUALITY_EVERY = 60.0
"""Seconds between two looks at the figures of the month: they move slowly, and are sums of some thousand rows."""

BEGINNINGS_EVERY = 15.0
"""Seconds between two looks at where the logs begin."""

SCHEMAS_EVERY = 60.0
"""Seconds between two looks at what the schema ids mean."""

Place = tuple[str, int]

log = structlog.get_logger()

_RETAINED = frozenset({"quarantine"})
_RETAINED_SECONDS = 360 * 86_400.0
"""What is in these is kept for 365 days (deploy/cluster/topics.py)."""

_STATES = ("正常", "迟", "中断")
_INDICATORS = ("accepted", "refused", "published", "late", "corrected", "conflicts")


class Watch:
    """Goes round the servers: `looks` are made in this order, each asks the server of that name; `close` ends it."""

    def __init__(
        self,
        probe: Probe,
        looks: Mapping[str, Callable[[], None]],
        *,
        every: float = EVERY,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._close = close
        self._probe = probe
        self._looks = dict(looks)
        self._every = every
        self._stopped = threading.Event()

    def run(self) -> None:
        """Go round until stopped."""
        while not self._stopped.is_set():
            self._probe.beat("watch")
            self.look()
            self._stopped.wait(self._every)
        self._probe.ended("watch")
        self._close()

    def stop(self) -> None:
        """End `run` after the round that is under way."""
        self._stopped.set()

    def look(self) -> None:
        """Go round once; a server that does not answer is noted, and what was last known of it stands."""
        for server, look in self._looks.items():
            asked = time()
            try:
                look()
            except (Retryable, UsageError, psycopg.OperationalError) as error:  # one that says no may say yes again
                self._probe.silent(server, str(error))
            else:
                self._probe.answered(server, asked=asked)


def in_turn(*calls: Callable[[], None]) -> Callable[[], None]:
    """Return what calls these, one after the other, up to the first that fails."""

    def call() -> None:
        for one in calls:
            one()

    return call


class IntakeLag:
    """How many messages of each assigned input partition are not forwarded.

    `standing` returns where each assigned partition stands: everything before that is forwarded.
    """

    def __init__(
        self, instruments: Instruments, logs: Logs, topics: Iterable[Place], standing: Callable[[], Mapping[Place, int]]
    ) -> None:
        self._lag = instruments.latest(INTAKE_LAG)
        self._logs = logs
        self._places = list(topics)
        self._standing = standing

    def look(self) -> None:
        """Ask Kafka. Raises Retryable where it does not answer."""
        ends = self._logs.ends(self._places)
        # Asked for after the ends: what came meanwhile does not count as lag.
        self._lag.replace(
            {
                (topic.removeprefix("records."), str(partition)): max(0, ends[topic, partition] - offset)
                for (topic, partition), offset in self._standing().items()
                if (topic, partition) in ends
            }
        )


class SchemaLook:
    """Whether the schema ids that intake has seen still mean what they meant; asks the registry anew,
    by a client of its own."""

    def __init__(self, registry: RegistryAddress | str, meanings: Meanings) -> None:
        self._registry, self._meanings = Registry(registry), meanings
        self._looked_at = -SCHEMAS_EVERY

    def look(self) -> None:
        """Ask. Raises Retryable where the registry does not answer."""
        self._registry.ask()
        if monotonic() - self._looked_at < SCHEMAS_EVERY:
            return
        for schema_id in tuple(self._meanings.ids):
            self._registry.forget(schema_id)
            try:
                self._meanings.holds(self._registry.writer(schema_id))
            except NotDecodable:
                continue  # noted by `holds`; an id that is not there any more means nothing else
        self._looked_at = monotonic()


class Broker(Protocol):
    """What a broker says of where its logs begin (streams.kafka.ranges.Logs)."""

    def firsts(self, partitions: Iterable[Place]) -> Mapping[Place, int]:
        """Return the first offset that each log still holds."""

    def since(self, partitions: Iterable[Place], moment: float) -> Mapping[Place, int]:
        """Return the first offset of each log at that time or later; one without any is missing."""


class Beginnings:
    """Where logs begin that keep everything, or for as long as `quarantine` does:
    a log that lost its beginning tells of nothing else."""

    def __init__(self, instruments: Instruments, logs: Broker, *, clock: Callable[[], float] = time) -> None:
        self._first, self._lost = instruments.latest(LOG_FIRST_OFFSET), instruments.latest(LOG_LOST)
        self._logs, self._clock = logs, clock
        self._young: dict[Place, int] = {}
        self._gone = set[Place]()
        self._looked_at = -BEGINNINGS_EVERY

    def look(self, places: Sequence[Place]) -> None:
        """Ask Kafka, every BEGINNINGS_EVERY seconds at most. Raises Retryable where it does not answer."""
        if monotonic() - self._looked_at < BEGINNINGS_EVERY:
            return
        first = self._logs.firsts(places)
        for place, offset in first.items():
            if offset > (self._young.get(place, offset) if place[0] in _RETAINED else 0) and place not in self._gone:
                self._gone.add(place)
                log.error("watch.log_lost", topic=place[0], partition=place[1], begins_at=offset)
        retained = [place for place in places if place[0] in _RETAINED]
        # What is younger must be there at the next look.
        self._young = dict(self._logs.since(retained, self._clock() - _RETAINED_SECONDS))
        self._gone &= {place for place in first if first[place] > 0}
        self._first.replace({(topic, str(partition)): offset for (topic, partition), offset in first.items()})
        self._lost.replace({(topic, str(p)): float((topic, p) in self._gone) for topic, p in first})
        self._looked_at = monotonic()


class StoreWatch:
    """What PostgreSQL knows, and the lag of the view: the position that counts is the one in PostgreSQL.

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
        self._logs = logs
        self._places = list(places)
        self._kept = list(kept)
        self._database = database
        self._generation = generation
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
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
        """Ask how far the logs reach, and where they begin. Raises Retryable where Kafka does not answer."""
        self._ends = self._logs.ends(self._places)
        self._begins.look([*self._places, *self._kept])

    def look_at_postgres(self) -> None:
        """Ask for everything else. Raises Retryable or psycopg.OperationalError where PostgreSQL does not answer."""
        try:
            self._look()
        except psycopg.OperationalError:
            self.close()
            raise
        finally:
            # While PostgreSQL does not answer, the lag must be seen to grow all the same.
            self._tell_lag()

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._database, generation=self._generation, autocommit=True)
            # A look that takes longer would itself be the load.
            self._connection.execute("SET statement_timeout = '10s'")
        return self._connection

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

    def _tell_lag(self) -> None:
        self._lag.replace(
            {
                (topic, str(partition)): max(0, self._ends[topic, partition] - offset)
                for (topic, partition), offset in self._positions.items()
                if (topic, partition) in self._ends
            }
        )
