"""Going round: what every thread beside a worker does until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import structlog

from schemas.errors import Retryable

__all__ = ["go_round"]

log = structlog.get_logger()

_SHORTEST, _LONGEST = 0.2, 2.0
"""Seconds until a step that failed is tried again, the first time and at most."""


def go_round(
    step: Callable[[], float],
    stopped: threading.Event,
    *,
    waits: str,
    close: Callable[[], None],
    retried: Callable[[str], None] = lambda server: None,
    passing: tuple[type[Exception], ...] = (psycopg.OperationalError, Retryable),
) -> None:
    """Call `step` until `stopped` is set; it returns after how many seconds it wants to be called again.

    An error that is `passing`, of a server that does not answer, is logged under the name `waits`, `retried` is told of which
    server (postgres, kafka, registry), `close` lets go of what is open, and the step is tried again: after 0.2 s, then each time
    twice as long, 2 s at most. Any other error leaves. `close` is called at the end, however it comes.
    """
    pause = 0.0
    try:
        while not stopped.is_set():
            try:
                rest, pause = step(), 0.0
            except passing as error:
                rest = pause = min(max(pause * 2, _SHORTEST), _LONGEST)
                log.warning(waits, why=str(error).strip(), next_try_in_seconds=pause)
                retried(error.server if isinstance(error, Retryable) else "postgres")
                close()
            stopped.wait(rest)
    finally:
        close()
