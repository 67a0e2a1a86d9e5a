"""Services: how they wait for servers, that they let go of what is open, and how one of several leads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from structlog.testing import capture_logs

from schemas.errors import Retryable
from streams.runtime import service
from streams.runtime.locks import RELAY, TENDING, Lead
from streams.runtime.service import Backoff, Connection, Service

Outcome = float | Exception


class Stopped(threading.Event):
    """Set once so many pauses were made, which are noted and take no time."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._after = after

    def wait(self, timeout: float | None = None) -> bool:
        """Note the pause."""
        assert timeout is not None
        self.pauses.append(timeout)
        if len(self.pauses) == self._after:
            self.set()
        return self.is_set()


class Rounds(Service):
    """A service whose rounds return or raise these, one after the other; it stops after so many pauses."""

    waits = "test.waits"

    def __init__(self, *outcomes: Outcome, stops_after: int, retried: Callable[[str], None] = lambda _: None) -> None:
        super().__init__("", retried=retried)
        self._outcomes, self._stopped, self.closed = iter(outcomes), Stopped(stops_after), 0

    @property
    def pauses(self) -> list[float]:
        """Return the seconds of each pause."""
        assert isinstance(self._stopped, Stopped)
        return self._stopped.pauses

    def close(self) -> None:
        """Count it."""
        self.closed += 1

    def _round(self) -> float:
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_round_says_when_the_next_one_is() -> None:
    rounds = Rounds(0.0, 1.5, 0.2, stops_after=3)
    rounds.run()
    assert rounds.pauses == [0.0, 1.5, 0.2]
    assert rounds.closed == 1, "at the end"


def test_servers_that_do_not_answer_are_waited_for_each_time_longer_and_named() -> None:
    away = [psycopg.OperationalError("no connection\n"), Retryable("no broker", server="kafka")]
    servers = list[str]()
    rounds = Rounds(*away, *[away[0]] * 5, 3.0, away[1], 0.0, stops_after=10, retried=servers.append)
    with capture_logs() as logs:
        rounds.run()
    assert rounds.pauses == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 3.0, 0.2, 0.0], "what works begins anew"
    assert servers == ["postgres", "kafka", *["postgres"] * 5, "kafka"]
    assert rounds.closed == 8 + 1
    assert [(one["event"], one["why"]) for one in logs][:2] == [
        ("test.waits", "no connection"),
        ("test.waits", "no broker"),
    ]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), psycopg.ProgrammingError("a fault")])
def test_any_other_error_leaves_and_nothing_stays_open(error: Exception) -> None:
    rounds = Rounds(error, stops_after=1)
    with pytest.raises(type(error), match="a fault"):
        rounds.run()
    assert rounds.closed == 1


def test_a_service_may_wait_for_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rounds, "transient", (psycopg.Error,))
    rounds = Rounds(psycopg.ProgrammingError("no right"), stops_after=1)
    rounds.run()
    assert rounds.pauses == [0.2]


def test_nothing_begins_once_it_is_stopped() -> None:
    rounds = Rounds(stops_after=1)
    rounds.stop()
    rounds.run()
    assert (rounds.pauses, rounds.closed) == ([], 1)


def test_pauses_grow_to_a_limit_and_end() -> None:
    backoff, away, made = Backoff(patience=9.0), Retryable("no broker", server="kafka"), list[float]()
    with pytest.raises(Retryable, match="no broker"):
        while True:
            made.append(backoff.next(away))
    assert made == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


class Database:
    """Advisory locks of a PostgreSQL, and the sessions in it."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, ...], LockSession] = {}
        self.opened = 0

    def connect(self, *_: object, **__: object) -> LockSession:
        """Open a session."""
        self.opened += 1
        return LockSession(self)


class LockSession:
    """A session that can take locks and nothing else."""

    def __init__(self, database: Database) -> None:
        self._database, self.closed = database, False

    def execute(self, query: str, key: tuple[int, ...]) -> LockSession:
        """Take the lock, or give it up."""
        assert query.count("%s") == len(key)
        if "unlock" in query:
            assert self._database.held.pop(key) is self
            return self
        self._took = self._database.held.setdefault(key, self) is self
        return self

    def fetchone(self) -> tuple[bool]:
        """Return whether it has it."""
        return (self._took,)

    def close(self) -> None:
        """End, and let go of the locks."""
        self.closed = True
        self._database.held = {key: one for key, one in self._database.held.items() if one is not self}


class Leading(Service):
    """A service of which one leads; it can fail to begin."""

    waits = "test.waits"
    fails = False

    def __init__(self, key: int = RELAY, generation: int | None = None) -> None:
        super().__init__("")
        self.lead, self.began = Lead(key, generation=generation), 0

    def _round(self) -> float:
        return 0.0 if self._leads() else 5.0

    def _begin(self, connection: Connection) -> None:
        if self.fails:
            raise Retryable("no broker")
        self.began += 1


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """A PostgreSQL of nothing but locks."""
    database = Database()
    monkeypatch.setattr(service, "connect", database.connect)
    return database


def test_one_leads_until_its_session_ends(database: Database) -> None:
    one, other = Leading(), Leading()
    assert [one._round(), other._round(), one._round()] == [0.0, 5.0, 0.0]
    one.close()
    assert [one.lead.held, other._round(), one._round()] == [False, 0.0, 5.0]
    assert (one.began, other.began) == (1, 1), "once an election"


def test_a_lost_session_is_a_lost_lead(database: Database) -> None:
    one, other = Leading(), Leading()
    one._round()
    assert one._connection is not None
    one._connection.close()
    assert not one.lead.held
    assert other._round() == 0.0
    assert one._round() == 5.0, "on a session of its own again"
    assert database.opened == 3


def test_a_leader_that_cannot_begin_lets_another_one_lead(database: Database) -> None:
    one, other = Leading(), Leading()
    one.fails = True
    with pytest.raises(Retryable):
        one._round()
    assert other._round() == 0.0


def test_a_lead_may_end_before_its_session(database: Database) -> None:
    one, other = Leading(TENDING, generation=3), Leading(TENDING, generation=3)
    one._round()
    one.lead.give_up()
    assert [one.lead.held, other._round(), one._round()] == [False, 0.0, 5.0]
    assert one._connection is not None
    assert not one._connection.closed


def test_generations_have_leaders_of_their_own(database: Database) -> None:
    assert [Leading(TENDING, generation)._round() for generation in (1, 2, 1)] == [0.0, 0.0, 5.0]
