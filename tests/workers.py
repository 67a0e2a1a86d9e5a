"""Worker processes for tests, run exactly as a deployment runs them: by the command, configured by the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.deadline import wait_until
from schemas.servers.connection import Connection, WorkerTimes
from tests import warm

__all__ = ["SHORT", "Worker", "environment", "workers"]


SHORT = WorkerTimes(session=6, idle_in_transaction=5)
"""How long others wait for a worker that a test kills or freezes."""


def environment(connection: Connection) -> dict[str, str]:
    """Return the environment that makes the command talk to these servers."""
    known = {
        "XINLIU_PROVINCE": connection.province,
        "XINLIU_KAFKA": connection.kafka.servers,
        "XINLIU_REGISTRY": connection.registry.url,
        "XINLIU_DATABASE": connection.database.get_secret_value(),
        **{f"XINLIU_INTAKE_STOP_{key.upper()}": str(value) for key, value in connection.intake_limits},
        "XINLIU_WORKER_SESSION": str(SHORT.session),
        "XINLIU_WORKER_IDLE_IN_TRANSACTION": str(SHORT.idle_in_transaction),
        "XINLIU_APPROVAL": str(connection.approval.required),
        "XINLIU_APPROVAL_HOURS": str(connection.approval.hours),
    }
    if connection.reader_database is not None:
        known["XINLIU_READER_DATABASE"] = connection.reader_database.get_secret_value()
    return {**{key: value for key, value in os.environ.items() if not key.startswith("XINLIU_")}, **known}


class Worker:
    """One worker process; its log is kept for the message of a failing test."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        folder: Path,
        *options: str,
        settings: Mapping[str, str] | None = None,
        clock: float = 0.0,
        module: str = "xinliu",
    ) -> None:
        """Start it; `clock` is by how many seconds its clock is ahead, `module` what is run in place of the command."""
        command = [module] if not clock else ["tests.chaos.clock", str(clock)]
        # A clock that is wrong must be so before anything is imported.
        start = warm.Popen if not clock else subprocess.Popen
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = start(
                [sys.executable, "-m", *command, "worker", name, *options],
                env=environment(connection) | dict(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT wakes it."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it in good order and return its exit code."""
        if self.runs:
            self._process.terminate()
        return self._process.wait(45)

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself and return its exit code."""
        assert wait_until(lambda: not self.runs, seconds=seconds), f"{self.name} still runs:\n{self.log[-3000:]}"
        return self._process.wait()


@contextmanager
def workers(connection: Connection, folder: Path, *names: str) -> Iterator[tuple[Worker, ...]]:
    """Run these workers; whatever still runs at the end is stopped, and must have stopped well."""
    started = tuple(Worker(connection, name, folder) for name in names)
    try:
        yield started
    finally:
        for worker in started:
            if worker.runs:
                worker.stop()
