"""Server processes of a local stack: started detached, identified by pid and start time, ended by pid only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.deadline import wait_until
from schemas.errors import UsageError
from schemas.files.private import open_private, private_folder, write_private

__all__ = ["QUICK_JAVA", "Process"]

QUICK_JAVA = "-XX:TieredStopAtLevel=1"
"""Java option to compile quickly rather than well: half the CPU time of a server's start."""

_children: list[subprocess.Popen[bytes]] = []
"""Kept, because a discarded Popen warns that its process still runs; here it should."""


@dataclass(frozen=True, slots=True)
class Process:
    """One server of a stack: its name, and the folder of its pid file and log."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """File with the server's output."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    @property
    def pid(self) -> int | None:
        """Pid of the server while it runs.

        The pid file has the start time too, so that after a kill -9 or a reboot another process with the same pid is
        neither taken for ours nor ended.
        """
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            pid, started = int(known["pid"]), int(known["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if _start_time(pid) == started else None

    def start(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start the server in a session of its own, with its output appended to its log."""
        private_folder(self.log.parent)
        with open_private(self.log, append=True) as out:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
                cwd=folder or self.folder,
            )
        _children.append(child)
        started = _start_time(child.pid)
        write_private(self._file, json.dumps({"pid": child.pid, "started": started}).encode())

    def ensure(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until the server is ready. Raises UsageError with the end of its log if it ends or the time is over."""
        if wait_until(lambda: self.pid is None or ready(), seconds=seconds) and self.pid is not None:
            return
        state = "ended" if self.pid is None else f"is not ready after {seconds:.0f} s"
        raise UsageError(f"{what} {state}: {self.last_words()} (log: {self.log})")

    def last_words(self) -> str:
        """Return the last line of the log that is not blank."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "it left no log"
        telling = [line.strip() for line in lines[-200:] if line.strip() and not line.startswith(("\t", "    at "))]
        loud = [line for line in telling if any(word in line for word in ("ERROR", "FATAL", "Exception", "error:"))]
        return (loud or telling or ["it printed nothing"])[-1][:300]

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 30.0) -> bool:
        """End the server cleanly, or kill it after the time-out; return whether it ended cleanly."""
        pid = self.pid
        in_time = True
        if pid is not None:
            _signal(pid, number)
            in_time = wait_until(lambda: self.pid is None, seconds=seconds, every=0.05)
            if not in_time:
                self.kill()
        _reap()
        self._file.unlink(missing_ok=True)
        return in_time

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL)."""
        pid = self.pid
        if pid is not None:
            _signal(pid, signal.SIGKILL)
            wait_until(lambda: self.pid is None, seconds=10, every=0.02)
            _reap()


def _reap() -> None:
    # Only children of this very process; those of an earlier command belong to init.
    for child in _children:
        child.poll()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself between check and signal


def _start_time(pid: int) -> int | None:
    # Field 22 of /proc/PID/stat, counted from behind the command in brackets; a zombie has ended.
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
