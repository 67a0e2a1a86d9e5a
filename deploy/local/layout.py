"""Layout of a local stack on disk: its folder, ports, secrets, and the version of the layout."""

from __future__ import annotations

import base64
import fcntl
import hmac
import json
import re
import secrets
import socket
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from deploy.deadline import wait_until
from schemas.errors import UsageError
from schemas.files.private import open_private, private_folder, write_private

__all__ = ["ANY_PORTS", "LAYOUT_VERSION", "WORKERS", "Ports", "StackLayout", "cannot_use"]

LAYOUT_VERSION = "1: kafka 4.3, apicurio 3.3, postgresql 18"
"""Change it with anything that makes an older stack's data unreadable."""

WORKERS = ("intake", "view")
"""Workers of a stack with a machine of its own."""

ANY_PORTS = 0
"""As the first port of a new stack: the usual ports, or the next ones free of other stacks and listeners."""

_PLACES = (*WORKERS, "province", "link")
"""Workers that may serve on a stack's ports; add new ones at the end, since a worker's place gives its port."""

_FIRST_PORT, _BLOCKS, _BLOCK = 20_000, 1_000, 10
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a stack: ten in a row, on loopback."""

    base: int

    @property
    def postgres(self) -> int:
        """PostgreSQL."""
        return self.base

    @property
    def kafka(self) -> int:
        """Kafka, for clients."""
        return self.base + 1

    @property
    def controller(self) -> int:
        """Kafka's controller."""
        return self.base + 2

    @property
    def registry(self) -> int:
        """The schema registry."""
        return self.base + 3

    @property
    def registry_management(self) -> int:
        """The schema registry's health checks."""
        return self.base + 4

    def metrics(self, worker: str) -> int:
        """Port of a worker's metrics, health and readiness: intake, view, province (all in one process) or link."""
        return self.base + 5 + _PLACES.index(worker)


def cannot_use(folder: Path, error: OSError) -> str:
    """Return one line with the reason why a folder of a stack cannot be used, and the remedy."""
    return f"cannot use {folder}: {error.strerror or error}; choose a folder of yours with XINLIU_HOME"


@dataclass(frozen=True)
class StackLayout:
    """The folder of one stack and its constants: ports, passwords, Kafka's cluster id."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} is no name for a stack: lower-case letters, digits and hyphens, at most 40"
            )

    @property
    def exists(self) -> bool:
        """Whether the stack was ever started."""
        try:
            return (self.folder / "stack.json").exists()
        except PermissionError as error:
            raise UsageError(cannot_use(self.folder, error)) from error

    def prepare(self, base_port: int | None = None, *, secure: bool = False, shared: bool = False) -> None:
        """Create the folder on the first start; check on every later one that this version can read it.

        The first of its ports is `base_port`, else the one that follows from its name. With ANY_PORTS a new stack gets
        free ports, also if several stacks of one home start at once, and an older one keeps its ports. `secure` and
        `shared` are fixed by the first start: a secure stack stays secure, a plain one plain, and a shared one shared.
        """
        file = self.folder / "stack.json"
        if self.exists:
            version = self._facts["version"]
            if version != LAYOUT_VERSION:
                raise UsageError(
                    f"the stack {self.name!r} holds data of another version ({version}; this is {LAYOUT_VERSION}):"
                    f" use the xinliu that made it, or `xinliu --stack {self.name} reset`, which deletes the data"
                )
            if secure and not self.secure:
                raise UsageError(
                    f"the stack {self.name!r} was made without security: start a secure one under another name,"
                    f" or `xinliu --stack {self.name} reset` first, which deletes the data"
                )
            changed = {**self._facts, "base_port": base_port or self.ports.base, "shared": shared or self.shared}
            if changed != self._facts:
                self._write(file, changed)
            return
        names = ["xinliu", "xinliu_reader", "registry", "postgres"]
        if secure:
            names += ["xinliu_worker", "xinliu_operator", "admin", "broker"]
        facts: dict[str, object] = {
            "version": LAYOUT_VERSION,
            "secure": secure,
            "shared": shared,
            "cluster_id": _cluster_id(),
            "passwords": {name: secrets.token_urlsafe(18) for name in names},
        }
        try:
            private_folder(self.folder, mode=0o711)  # PostgreSQL's user passes through
            lock = open_private(self.folder.parent / "ports.lock")
        except OSError as error:
            raise UsageError(cannot_use(self.folder, error)) from error
        # A stack listens on its ports only seconds after it has chosen them: until then only its file reserves them.
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            base = self._free_base() if base_port == ANY_PORTS else base_port or self.usual_base
            self._write(file, {**facts, "base_port": base})

    def _write(self, file: Path, facts: dict[str, object]) -> None:
        write_private(file, json.dumps(facts, indent=1).encode())
        self.__dict__.pop("_facts", None)

    @cached_property
    def _facts(self) -> dict[str, object]:
        try:
            facts = json.loads((self.folder / "stack.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"there is no local stack {self.name!r}: start one with `xinliu up`") from None
        except PermissionError:
            raise UsageError(f"the stack {self.name!r} belongs to another user: run this as that user") from None
        except ValueError:
            raise UsageError(f"{self.folder / 'stack.json'} is damaged: `xinliu --stack {self.name} reset`") from None
        assert isinstance(facts, dict)
        return facts

    @property
    def usual_base(self) -> int:
        """First of the ports that follow from the name."""
        return _FIRST_PORT + zlib.crc32(self.name.encode()) % _BLOCKS * _BLOCK

    def _free_base(self) -> int:
        taken = {base for folder in self.folder.parent.iterdir() if (base := _base_of(folder)) is not None}
        base = self.usual_base
        while any(abs(base - other) < _BLOCK for other in taken) or not all(
            _free(port) for port in range(base, base + _BLOCK)
        ):
            base += _BLOCK
        return base

    @property
    def ports(self) -> Ports:
        """The stack's ports."""
        return Ports(int(str(self._facts["base_port"])))

    @property
    def cluster_id(self) -> str:
        """Kafka's cluster id."""
        return str(self._facts["cluster_id"])

    @property
    def secure(self) -> bool:
        """Whether its servers encrypt and authenticate."""
        return bool(self._facts.get("secure"))

    @property
    def shared(self) -> bool:
        """Whether it shares the machine with other provinces: small servers, and one process for all its workers."""
        return bool(self._facts.get("shared"))

    @property
    def workers(self) -> tuple[str, ...]:
        """Its worker processes."""
        return ("province",) if self.shared else WORKERS

    @property
    def tls(self) -> Path:
        """Folder of a secure stack's certificates."""
        return self.folder / "tls"

    def password(self, role: str) -> str:
        """Password of a database role, or of a super user of Kafka."""
        passwords = self._facts["passwords"]
        assert isinstance(passwords, dict)
        return str(passwords[role])

    def registry_password(self, user: str) -> str:
        """Password of a principal at the schema registry; derived from the registry's own, without any state."""
        key = self.password("registry").encode()
        return base64.urlsafe_b64encode(hmac.digest(key, f"registry user {user}".encode(), "sha256")[:18]).decode()

    def check_port(self, port: int, server: str) -> None:
        """Raise UsageError if another process listens on a port that a server of ours needs."""
        # After a kill -9 the kernel may still be closing the sockets of our server.
        if not wait_until(lambda: _free(port), seconds=5):
            raise UsageError(
                f"port {port}, which {server} of the stack {self.name!r} needs, is taken{_taker(port)}:"
                f" end that process, or move the stack with `xinliu --stack {self.name} up --base-port N`"
            )


def _base_of(folder: Path) -> int | None:
    """Return the first port of the stack in a folder; None if there is none, or it is not readable."""
    try:
        return int(json.loads((folder / "stack.json").read_text(encoding="utf-8"))["base_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # if another user's stack runs, its open ports show it


def _cluster_id() -> str:
    # In Kafka's own form: an id that begins with a hyphen would be read as an option.
    while (made := secrets.token_urlsafe(16)[:22]).startswith("-"):
        continue
    return made


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _taker(port: int) -> str:
    try:
        pids = {c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid}
        return "".join(f" by {psutil.Process(pid).name()} (pid {pid})" for pid in sorted(pids)[:1])
    except psutil.Error:
        return ""  # another user's process: the port is enough
