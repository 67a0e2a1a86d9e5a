"""How long to wait for a server that does not answer, where there is nothing else to do meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from schemas.errors import Retryable

__all__ = ["pauses"]

log = structlog.get_logger()

_FIRST, _LONGEST = 0.1, 2.0
"""Seconds: a server that is back is asked after the longest pause at the latest."""


def pauses(patience: float) -> Callable[[Retryable], float]:
    """Return what says, and logs, how many seconds to wait for the server of an error: each time twice as long,
    2 s at most.

    It raises the error once `patience` seconds were waited.
    """
    pause, waited = 0.0, 0.0

    def next_pause(error: Retryable) -> float:
        nonlocal pause, waited
        if waited >= patience:
            raise error
        pause = min(max(pause * 2, _FIRST), _LONGEST)
        waited += pause
        log.warning("worker.waits", why=str(error), next_try_in_seconds=pause)
        return pause

    return next_pause
