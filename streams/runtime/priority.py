"""The lowest priority, for threads and database sessions that nobody waits for."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["lower_backend", "lower_priority"]

_NICE = 19


def lower_priority(store: psycopg.Connection[Any]) -> None:
    """Give this thread, and the backend of this connection where it runs on this machine, the lowest priority there is.

    Nothing happens where that is not allowed. What the connection asks is done by that backend alone: those that
    PostgreSQL would have help it have a priority of their own.
    """
    _lower(threading.get_native_id())
    lower_backend(store)


def lower_backend(store: psycopg.Connection[Any]) -> None:
    """Give the backend of this connection alone that priority:
    a thread that holds Python's lock must not be kept waiting."""
    store.execute("SET max_parallel_workers_per_gather = 0")
    store.execute("SET max_parallel_maintenance_workers = 0")
    pid = store.info.backend_pid
    with suppress(OSError):
        # Another machine's backend of that number is some other process here.
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").startswith("postgres") and store.info.hostaddr in (
            "127.0.0.1",
            "::1",
        ):
            _lower(pid)


def _lower(*pids: int) -> None:
    for pid in pids:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)
