"""Threads that go round: how they wait for servers, and that they let go of what is open."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from structlog.testing import capture_logs

from schemas.errors import Retryable
from streams.runtime.service import go_round

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


def steps(*outcomes: Outcome) -> Callable[[], float]:
    """Return a step that returns or raises these, one after the other."""
    left = iter(outcomes)

    def step() -> float:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step


def test_a_step_says_when_it_is_called_again() -> None:
    stopped, closed = Stopped(3), list[str]()
    go_round(steps(0.0, 1.5, 0.2), stopped, waits="test.waits", close=lambda: closed.append("closed"))
    assert stopped.pauses == [0.0, 1.5, 0.2]
    assert closed == ["closed"], "at the end"


def test_servers_that_do_not_answer_are_waited_for_each_time_longer_and_named() -> None:
    away = [psycopg.OperationalError("no connection\n"), Retryable("no broker", server="kafka")]
    stopped, closed, servers = Stopped(10), list[str](), list[str]()
    with capture_logs() as logs:
        go_round(
            steps(*away, *[away[0]] * 5, 3.0, away[1], 0.0), stopped, waits="test.waits",
            close=lambda: closed.append("closed"), retried=servers.append,
        )  # fmt: skip
    assert stopped.pauses == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 3.0, 0.2, 0.0], "what works begins anew"
    assert servers == ["postgres", "kafka", *["postgres"] * 5, "kafka"]
    assert len(closed) == 8 + 1
    assert [(one["event"], one["why"]) for one in logs][:2] == [
        ("test.waits", "no connection"),
        ("test.waits", "no broker"),
    ]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), psycopg.ProgrammingError("a fault")])
def test_any_other_error_leaves_and_nothing_stays_open(error: Exception) -> None:
    closed = list[str]()
    with pytest.raises(type(error), match="a fault"):
        go_round(steps(error), Stopped(1), waits="test.waits", close=lambda: closed.append("closed"))
    assert closed == ["closed"]


def test_what_passes_may_be_said() -> None:
    stopped = Stopped(1)
    go_round(
        steps(psycopg.ProgrammingError("no right")), stopped, waits="test.waits", close=lambda: None,
        passing=(psycopg.Error,),
    )  # fmt: skip
    assert stopped.pauses == [0.2]


def test_nothing_begins_once_it_is_stopped() -> None:
    stopped, closed = Stopped(1), list[str]()
    stopped.set()
    go_round(steps(), stopped, waits="test.waits", close=lambda: closed.append("closed"))
    assert closed == ["closed"]
