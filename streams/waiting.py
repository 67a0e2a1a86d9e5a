"""How long to wait for a server that does not answer, where there is nothing else to do meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from schemas.errors import Retryable

__all__ = ["pauses"]

log = structlog.get_logger()


def pauses(longest: float) -> Callable[[Retryable], float]:
    """Return what says, and logs, how many seconds to wait for the server of an error: each time twice as long.

    It raises the error once the pause would be longer than `longest`.
    """
    pause = 0.05

    def next_pause(error: Retryable) -> float:
        nonlocal pause
        pause *= 2
        if pause > longest:
            raise error
        log.warning("worker.waits", why=str(error), next_try_in_seconds=pause)
        return pause

    return next_pause
