"""Outboxes for tests: rows on a database, a topic in memory that may crash, and relays that come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL

from producers.outbox import Outbox
from producers.outbox.database import open_engine
from producers.outbox.lease import Lease
from producers.outbox.relay import Relay, RelaySettings
from producers.outbox.sender import Delivery, Sender
from producers.outbox.store import Store, WaitingStatement
from producers.outbox.tables import Tables
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.errors import Retryable

__all__ = ["Crash", "MemoryTopic", "database", "fresh", "statement_of"]

TIMELESS = RelaySettings(mark_every=0.000_001, report_every=0.0, keep=None)
"""Settings of a relay that vouches whenever it can."""


class Crash(BaseException):
    """kill -9 at this point, as far as one process can play it: nothing catches it, nothing is done afterwards."""


class MemoryTopic(Sender):
    """A topic that keeps in memory what was told, and fails where it is told to."""

    def __init__(self) -> None:
        self.told: list[bytes | datetime] = []
        self.crash_after: int | None = None
        self.fail_after: int | None = None
        self.refuses: Callable[[WaitingStatement], bool] = lambda _: False

    @property
    def bodies(self) -> list[bytes]:
        """The statements, in the order in which they came."""
        return [one for one in self.told if isinstance(one, bytes)]

    @property
    def markers(self) -> list[datetime]:
        """What was vouched for."""
        return [one for one in self.told if isinstance(one, datetime)]

    def send(self, batch: Sequence[WaitingStatement]) -> Delivery:
        """Take rows, as far as it gets."""
        delivery = Delivery()
        for number, row in enumerate(batch):
            if self.fail_after is not None and number >= self.fail_after:
                delivery.unsettled = Retryable("the topic does not answer", server="kafka")
                self.fail_after = None
                break
            if self.refuses(row):
                delivery.refused[row.id] = "too large"
                continue
            self.told.append(row.body)
            delivery.confirmed[row.id] = (0, len(self.told))
            if self.crash_after is not None and number >= self.crash_after:
                break
        if self.crash_after is not None:
            self.crash_after = None
            raise Crash
        return delivery

    def mark(self, as_of: datetime) -> None:
        """Take a marker."""
        self.told.append(as_of)

    def close(self) -> None:
        """Nothing is open."""


class Database:
    """An outbox on some database, and how a department and a relay reach it."""

    def __init__(
        self, engine: Engine, table_name: str, relays: Engine | None = None, *, department: str = "tax", **outbox: Any
    ) -> None:
        self.engine = engine
        self.department = department
        self._relays = relays or engine
        self.table_name = table_name
        self.outbox = Outbox(department, table_name=table_name, **outbox)
        self.store = Store(self._relays, department, table_name=table_name)
        self._tables = Tables(MetaData(), table_name)
        self.rows = self._tables.rows

    def add(self, *statements: dict[str, Any]) -> None:
        """Add and commit."""
        with self.engine.begin() as connection:
            self.outbox.add_many(connection, statements)

    def lease(self, seconds: float = 20.0, **clock: Any) -> Lease:
        """A relay's lease."""
        return Lease(self._relays, self.department, seconds=seconds, table_name=self.table_name, **clock)

    def relay(self, topic: Sender, settings: RelaySettings = TIMELESS, *, seconds: float = 0.0, **now: Any) -> Relay:
        """A relay that takes over at once, whoever was at work."""
        return Relay(self.store, topic, self.lease(seconds), settings, **now)

    def empty(self) -> None:
        """Delete all rows and the lease: as new, but what its engine has compiled need not be compiled again."""
        with self.engine.begin() as connection:
            for table in (self._tables.rows, self._tables.relay):
                connection.execute(table.delete())

    def close(self) -> None:
        """Let go of the connections."""
        self.engine.dispose()
        self._relays.dispose()

    def states(self) -> list[tuple[int, str]]:
        """Id and state of every row."""
        with self.engine.connect() as connection:
            found = connection.execute(self.rows.select().order_by(self.rows.c.id))
            return [(row.id, row.state) for row in found]


def database(url: URL | str, table_name: str = "xinliu_outbox", **outbox: Any) -> Database:
    """An outbox with fresh tables there."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    relays = engine if engine.url.database in (None, "", ":memory:") else open_engine(engine.url)
    made = Database(engine, table_name, relays, **outbox)
    made.outbox.table(metadata := MetaData())
    metadata.drop_all(engine)
    metadata.create_all(engine)
    return made


def fresh() -> datetime:
    """Now."""
    return datetime.now(UTC)


def statement_of(body: bytes) -> dict[str, Any]:
    """Return the statement that a body holds."""
    return decode(parsed("xinliu.Statement"), body)
