"""Services: work in a thread of its own beside a worker. They share one start and stop, one back-off and one session."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, ClassVar, Protocol

import psycopg
import structlog

from schemas.errors import Retryable
from schemas.store.database import connect
from streams.runtime.locks import Lead

__all__ = ["Backoff", "Connection", "DatabaseSession", "Service", "Thread", "plan_by_index"]

log = structlog.get_logger()

Connection = psycopg.Connection[Any]


class Backoff:
    """A pause that doubles from `first` to `longest` seconds. Each is logged as `event`; `waited` is their sum in seconds."""

    def __init__(
        self, event: str = "worker.waits", *, first: float = 0.1, longest: float = 2.0, patience: float = inf
    ) -> None:
        self._event, self._first, self._longest, self._patience = event, first, longest, patience
        self._pause = self.waited = 0.0

    def next(self, error: Exception) -> float:
        """Log and return the seconds to wait after this error. Raise it once `patience` seconds were waited."""
        if self.waited >= self._patience:
            raise error
        self._pause = min(max(self._pause * 2, self._first), self._longest)
        self.waited += self._pause
        log.warning(self._event, why=str(error).strip(), next_try_in_seconds=self._pause)
        return self._pause

    def reset(self) -> None:
        """Begin with the first pause again: the server has answered."""
        self._pause = self.waited = 0.0


class DatabaseSession:
    """A database connection that opens on first use, and again after `close` or a loss."""

    def __init__(self, database: str, *, generation: int | None = None) -> None:
        self._connect = partial(connect, database, generation=generation, autocommit=True)
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> Connection:
        if self._connection is not None and self._connection.closed:
            self.close()  # whatever belongs to the lost connection goes with it
        if self._connection is None:
            self._connection = self._connect()
            try:
                self._set_up(self._connection)
            except BaseException:
                self.close()
                raise
        return self._connection

    def _set_up(self, connection: Connection) -> None:
        """Prepare a new connection."""


def plan_by_index(connection: Connection) -> None:
    """Have the planner go row by row through indexes, whatever the statistics say, for queries of few rows of big tables."""
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
        connection.execute(f"SET {setting} = off")


class Service(DatabaseSession, ABC):
    """Rounds in a thread of its own, each by one database session, until stopped.

    If a server does not answer, the service closes what is open, waits, and makes the round again: after 0.2 s, then
    each time twice as long, up to `longest`. Any other error leaves `run` and ends the worker. If several workers run
    the same service, it may elect a leader (`lead`): the others stand by until the leader's session ends.
    """

    waits: ClassVar[str]
    """The log event of a pause because of a server."""
    transient: ClassVar[tuple[type[Exception], ...]] = (psycopg.OperationalError, Retryable)
    """Errors after which the round is made again."""
    longest: ClassVar[float] = 2.0
    """Seconds of the longest pause."""
    lead: Lead
    """The election, of a service of which only one may work."""

    def __init__(
        self, database: str = "", *, generation: int | None = None, retried: Callable[[str], None] = lambda server: None
    ) -> None:
        """`retried` is called with the server (postgres, kafka, registry) of each failed round. A service that needs no
        session names no database."""
        super().__init__(database, generation=generation)
        self._retried = retried
        self._woken, self._stopped = threading.Event(), threading.Event()

    def wake(self) -> None:
        """Announce news; from any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` after the round that is under way; from any thread."""
        self._stopped.set()
        self._woken.set()

    def run(self) -> None:
        """Make rounds until stopped, and close at the end, however it comes."""
        backoff = Backoff(self.waits, first=0.2, longest=self.longest)
        try:
            while not self._stopped.is_set():
                try:
                    rest = self._round()
                    backoff.reset()
                except self.transient as error:
                    rest = backoff.next(error)
                    self._retried(error.server if isinstance(error, Retryable) else "postgres")
                    self.close()
                self._stopped.wait(rest)
        finally:
            self.close()

    @abstractmethod
    def _round(self) -> float:
        """Make one round; return how many seconds to rest after it."""

    def _await_news(self, gather: float = 0.0) -> None:
        """Wait a second at most until woken, then `gather` seconds for more: the view commits up to 100 times a second."""
        self._woken.wait(1.0)
        self._stopped.wait(gather)
        self._woken.clear()

    def _leads(self) -> bool:
        """Return whether this service leads, or is elected now; false if another worker leads."""
        connection = self._connected()
        if not self.lead.held:
            if not self.lead.take(connection):
                return False
            try:
                self._begin(connection)
            except BaseException:
                self.close()  # a leader that is only half ready must let another one lead
                raise
        return True

    def _begin(self, connection: Connection) -> None:
        """Get ready to lead, on election."""


class Thread(Protocol):
    """Work in a thread of its own. Whatever `run` raises stops the process."""

    def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """End `run` after the current work; from any thread."""
