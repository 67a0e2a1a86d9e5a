"""Waiting for a server that does not answer, where there is nothing else to do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep

import structlog

from schemas.errors import Retryable

__all__ = ["pausing"]

log = structlog.get_logger()


def pausing(longest: float) -> Callable[[Retryable], None]:
    """Return what waits twice as long each time it is called, and raises the error once it has waited more than `longest` seconds."""
    pause = 0.1

    def wait(error: Retryable) -> None:
        nonlocal pause
        if pause > longest:
            raise error
        log.warning("worker.waits", why=str(error), next_try_in_seconds=pause)
        sleep(pause)
        pause *= 2

    return wait
