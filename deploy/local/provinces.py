"""Several provinces on one machine: a small stack each, started in parallel and connected to the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TypeVar

import psutil
import requests

from deploy.deadline import wait_until
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import ServerStatus, Stack, Told
from deploy.settings import Settings, settings
from schemas import catalogue
from schemas.errors import UsageError
from schemas.exchange.keys import Keyring, Signer, make_key
from schemas.servers.connection import Connection, Exchange

__all__ = ["Provinces", "read_names"]

T = TypeVar("T")

READY_SECONDS = 120.0
"""Maximum seconds from the first start until everything is ready; a slower machine gets an error that names it."""


def read_names(text: str) -> tuple[str, ...]:
    """Return the provinces of a comma-separated list. Raises UsageError if one is unknown or repeated."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UsageError("--provinces names no province: beijing,tianjin,hebei,shanxi, for example")
    known = catalogue.load()
    for name in names:
        known.province(name)
        if names.count(name) > 1:
            raise UsageError(f"--provinces names {name} twice: one stack is one province")
    return names


@dataclass(frozen=True)
class Provinces:
    """The stacks of these provinces, each named by its province; with a prefix, PREFIX-PROVINCE."""

    names: tuple[str, ...]
    prefix: str = ""
    known: Settings = field(default_factory=settings)
    tell: Told = lambda _: None

    @cached_property
    def stacks(self) -> dict[str, Stack]:
        """By province."""
        return {name: Stack(self._stack(name), self.known, self._teller(name)) for name in self.names}

    @property
    def keyring(self) -> Path:
        """Folder of the public keys that all of them share."""
        return self.known.home_folder / "keyrings" / (self.prefix or "provinces")

    def up(self, *, secure: bool = False, workers: bool = True) -> dict[str, Connection]:
        """Start every server that does not run, connect the provinces, and wait until the workers are ready.

        Running ones are left alone, except workers with other peers than these. Raises UsageError, in one line, for
        every foreseeable mistake.
        """
        started = monotonic()
        stacks = list(self.stacks.values())
        for stack in stacks:
            _check_alone(stack)
        # Once, here: in parallel each stack would download and unpack everything.
        stacks[0].fetch()
        self._all(lambda name, stack: stack.up(
            province=name, base_port=ANY_PORTS, workers=False, secure=secure, shared=True
        ))  # fmt: skip
        for name, stack in self.stacks.items():
            stack.share(self._exchange(name))
        if workers:
            self._all(lambda _, stack: stack.start_workers())
            self._all(lambda _, stack: _await_ready(stack, READY_SECONDS - (monotonic() - started)))
        return self._all(lambda _, stack: stack.connection())

    def down(self) -> None:
        """Stop them all; data stay."""
        self._all(lambda _, stack: stack.down(), self._there())

    def status(self) -> dict[str, tuple[ServerStatus, ...]]:
        """Return every server and worker, running or not, by province. Raises UsageError if one was never started."""
        return {name: self.stacks[name].status() for name in self._there()}

    def memory(self) -> int:
        """Return the bytes of memory of all their processes; shared memory counts once (PSS)."""
        return sum(_memory(server.pid) for servers in self.status().values() for server in servers if server.pid)

    def reset(self) -> None:
        """Stop them all and delete all their data, and their keys."""
        self._all(
            lambda _, stack: stack.reset(), [name for name in self.names if self.stacks[name].layout.folder.exists()]
        )
        for file in [file for name in self.names for file in self.keyring.glob(f"{name}.*.json")]:
            file.unlink()
        if self.keyring.exists() and not any(self.keyring.iterdir()):
            self.keyring.rmdir()

    def _there(self) -> tuple[str, ...]:
        for name, stack in self.stacks.items():
            if not stack.layout.exists:
                raise UsageError(
                    f"there is no local stack {stack.name!r}: start it with `xinliu up --provinces {name},…`"
                )
        return self.names

    def _stack(self, name: str) -> str:
        return f"{self.prefix}-{name}" if self.prefix else name

    def _teller(self, name: str) -> Told:
        return lambda what: self.tell(f"{name}: {what}")

    def _exchange(self, name: str) -> Exchange:
        keys = self.stacks[name].layout.folder / "keys"
        key = keys / "signing.json"  # one name, whichever key signs: `xinliu exchange keys use` replaces its content
        held = {one.key_id for one in Keyring(self.keyring).held() if one.province == name}
        if not key.exists() or Signer.from_file(key).key_id not in held:
            make_key(name, keys, self.keyring).replace(key)
        peers = {other: stack.peer(name) for other, stack in self.stacks.items() if other != name}
        return Exchange(signing_key=key, keyring=self.keyring, peers=peers)

    def _all(self, what: Callable[[str, Stack], T], names: Iterable[str] | None = None) -> dict[str, T]:
        """Call a function on all of them in parallel. All calls end before the first error is raised."""
        chosen = self.names if names is None else tuple(names)
        if not chosen:
            return {}
        with ThreadPoolExecutor(len(chosen)) as threads:
            return dict(zip(chosen, threads.map(lambda name: what(name, self.stacks[name]), chosen), strict=True))


def _memory(pid: int) -> int:
    held = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's processes come and go with connections
            held += int(process.memory_full_info().pss)
    return held


def _check_alone(stack: Stack) -> None:
    if stack.layout.exists and not stack.layout.shared and any(server.pid for server in stack.status()):
        raise UsageError(
            f"the stack {stack.name!r} runs alone already: `xinliu --stack {stack.name} down` first; it then goes on as one"
            " of these provinces, with its data"
        )


def _await_ready(stack: Stack, seconds: float) -> None:
    for server in stack.status():
        if server.name.startswith("worker-") and server.address is not None:
            _await_worker(stack, server.name, server.address.replace("/metrics", "/ready"), seconds)


def _await_worker(stack: Stack, name: str, address: str, seconds: float) -> None:
    process = stack.process(name)
    why = "it does not answer"

    def answers() -> bool:
        nonlocal why
        try:
            answer = requests.get(address, timeout=5)
        except requests.RequestException:
            return False
        if answer.status_code != requests.codes.ok:
            why = "; ".join(answer.json()["reasons"])
        return answer.status_code == requests.codes.ok

    if not wait_until(lambda: process.pid is None or answers(), seconds=max(seconds, 30.0)) or process.pid is None:
        state = process.last_words() if process.pid is None else why
        raise UsageError(f"{name} of the stack {stack.name!r} is not ready: {state} (log: {process.log})")
