"""A secure local stack for tests: started once a lane, while somebody looks over its shoulder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.layout import ANY_PORTS
from deploy.local.stack import Stack
from deploy.settings import settings
from schemas.servers.connection import Connection
from tests import warm
from tests.servers import starting

__all__ = ["Secure", "command_lines", "installation", "running", "xinliu"]


@dataclass
class Secure:
    """The stack, the operator's connection, and every command line that was seen while it was started."""

    stack: Stack
    connection: Connection
    command_lines: set[str] = field(default_factory=set)

    @property
    def principals(self) -> dict[str, Connection]:
        """Everyone's connection, by name."""
        folder = self.stack.layout.folder / "principals"
        return {file.stem: self.connection.acting(file.stem) for file in sorted(folder.glob("*.json"))}

    @property
    def secrets(self) -> set[str]:
        """Every password that there is."""
        roles = ("xinliu", "xinliu_worker", "xinliu_operator", "xinliu_reader", "registry", "postgres", "broker")
        known = {self.stack.layout.password(role) for role in roles}
        known |= {c.registry.password.get_secret_value() for c in self.principals.values() if c.registry.password}
        return known | {c.kafka.setting("sasl.password") or "" for c in self.principals.values()}


@contextmanager
def running() -> Iterator[Secure]:
    """Run a secure stack with its workers, from empty data."""
    stack = Stack(f"secure-{os.getpid()}")
    seen: set[str] = set()
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, done), daemon=True)
    watcher.start()
    try:
        try:
            with starting():
                connection = stack.up(secure=True, base_port=ANY_PORTS)
        finally:
            done.set()
            watcher.join()
        yield Secure(stack, connection, seen)
    finally:
        if stack.layout.folder.exists():
            stack.reset()


def xinliu(secure: Secure, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the stack; with `environment`, as an installation that is set up by it."""
    stack = () if environment else ("--stack", secure.stack.name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XINLIU_")}
    home = {"XINLIU_HOME": str(settings().home_folder)}
    return warm.run(
        [sys.executable, "-m", "xinliu", *stack, *words],
        env={**kept, **home, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def installation(secure: Secure, principal: str, folder: Path) -> dict[str, str]:
    """Return the settings of a process of this principal, as an installation has them; its credentials go to a file there."""
    known = secure.principals[principal]
    mine = folder / f"{principal}.properties"
    mine.write_text("".join(f"{name}={text.get_secret_value()}\n" for name, text in known.kafka.security.items()))
    secrets = folder / f"{principal}.registry.properties"
    secrets.write_text(known.registry.properties())
    return {
        "XINLIU_PROVINCE": known.province,
        "XINLIU_KAFKA": known.kafka.servers,
        "XINLIU_KAFKA_SECURITY": str(mine),
        "XINLIU_REGISTRY": known.registry.url,
        "XINLIU_REGISTRY_SECURITY": str(secrets),
        "XINLIU_DATABASE": known.database.get_secret_value(),
    }


def _watch(seen: set[str], done: threading.Event) -> None:
    looks: Counter[str] = Counter()
    while not done.wait(0.1):
        # A process is born with its parent's command line: one look is not enough, three are.
        young = [pid for pid in _pids() if looks[pid] < 3]
        looks.update(young)
        seen |= command_lines(young)


def command_lines(pids: Iterable[str] | None = None) -> set[str]:
    """Return the command lines of these processes, of all where none are given, as any user may read them."""
    found = set()
    for pid in _pids() if pids is None else pids:
        try:
            found.add(Path("/proc", pid, "cmdline").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue  # it ended between the look and the reading
    return found


def _pids() -> list[str]:
    return [folder.name for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
