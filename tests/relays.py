"""A department's outbox on the stack's PostgreSQL, its relay as a process, and what the topic holds of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Self

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import MetaData
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from deploy.deadline import wait_until
from schemas.contracts.codec import encode, unframe
from schemas.servers.connection import Connection
from tests import warm
from tests.offline import log_of
from tests.outboxes import Database, database
from tests.statements import penalty, state
from tests.workers import environment

__all__ = ["Program", "RelayProcess", "bodies_of", "outbox_command", "outbox_on", "status_of", "url_of"]


def url_of(connection: Connection) -> URL:
    """The address of the stack's PostgreSQL, as SQLAlchemy wants it."""
    parts = conninfo_to_dict(connection.database.get_secret_value())
    return URL.create(
        "postgresql+psycopg",
        username=str(parts["user"]),
        password=str(parts["password"]),
        host=str(parts["host"]),
        port=int(str(parts["port"])),
        database=str(parts["dbname"]),
    )


@contextmanager
def outbox_on(connection: Connection, department: str) -> Iterator[Database]:
    """An outbox with tables of its own in the stack's PostgreSQL."""
    made = database(url_of(connection), f"outbox_{uuid.uuid4().hex[:8]}", department=department)
    try:
        yield made
    finally:
        made.outbox.table(metadata := MetaData())
        metadata.drop_all(made.engine)
        made.close()


def _environment(connection: Connection, url: URL | str) -> dict[str, str]:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return {**environment(connection), "XINLIU_OUTBOX_URL": text}


def run_outbox(
    connection: Connection, tax: Database, *words: str, url: URL | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `xinliu outbox …` for this outbox, or with another address."""
    options = ["--table", tax.table_name]
    if words[0] != "create":
        options += ["--department", tax.department]
    return warm.run(
        [sys.executable, "-m", "xinliu", "outbox", *words, *options],
        env=_environment(connection, url or tax.engine.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def outbox_command(connection: Connection, tax: Database, *words: str, expect: int = 0) -> str:
    """Run `xinliu outbox …` for this outbox and return what it printed."""
    done = run_outbox(connection, tax, *words)
    assert done.returncode == expect, f"{done.returncode}: {done.stderr}"
    return done.stdout


class RelayProcess:
    """A relay, run as a deployment runs it; started again into the same log after it was killed."""

    def __init__(self, connection: Connection, tax: Database, folder: Path, *options: str) -> None:
        self._log = folder / "relay.log"
        words = ["--department", tax.department, "--table", tax.table_name, "--poll", "0.05", "--lease", "1", *options]
        with self._log.open("ab") as log:
            self._process = warm.Popen(
                [sys.executable, "-m", "xinliu", "outbox", "relay", *words],
                env=_environment(connection, tax.engine.url),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it printed so far, and those before it."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def says(self, text: str, seconds: float = 40.0) -> None:
        """Wait until its log says it."""
        assert wait_until(lambda: text in self.log, seconds=seconds), self.log[-3000:]

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT wakes it."""
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would; nothing happens where it has ended."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """End it in good order, and return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(45)


class Program:
    """A department's program: transactions of new records, later versions and revocations, some of them rolled back."""

    def __init__(self, tax: Database, *, entity: int, programs: int = 2) -> None:
        self.committed: set[bytes] = set()
        self.newest: dict[str, int] = {}
        self._tax, self._entity = tax, entity
        self._run = uuid.uuid4().hex[:8]
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(number,)) for number in range(programs)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let it end after the transactions that are under way; raises what went wrong in it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for failure in self._failures:
            raise failure

    def _guarded(self, program: int) -> None:
        try:
            self._write(program)
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            self._failures.append(error)

    def _write(self, program: int) -> None:
        chance = Random(f"{self._run}{program}")
        known: list[tuple[str, int, int]] = []
        for number in count():
            if self._stop.wait(0.02):
                return
            said, added = [], []
            for part in range(chance.randint(1, 8)):
                if known and chance.random() < 0.3:
                    name, entity, version = known[place := chance.randrange(len(known))]
                    known[place] = (name, entity, version + 1)
                    later = penalty(name, version=version + 1, entity=entity, key=self._tax.department)
                    revoked = chance.random() < 0.3
                    said.append(state(later, "REVOKED", version=version + 1) if revoked else later)
                else:
                    name, entity = f"箱{self._run}-{program}-{number}-{part}", self._entity + chance.randrange(200)
                    added.append((name, entity, 1))
                    said.append(penalty(name, entity=entity, key=self._tax.department))
            if self._transaction(said, commit=chance.random() < 0.85):
                known += added
                for one in said:
                    self.committed.add(encode("xinliu.Statement", one))
                    self.newest[one["record_id"]] = max(self.newest.get(one["record_id"], 0), one["version"])

    def _transaction(self, said: list[dict[str, Any]], *, commit: bool) -> bool:
        deadline = monotonic() + 60
        while True:
            try:
                with self._tax.engine.connect() as connection:
                    self._tax.outbox.add_many(connection, said)
                    if commit:
                        connection.commit()
                    return commit
            except DBAPIError:
                # Its database is being restarted: the transaction is not there, and it decides again. What was connected is let
                # go of by the pool itself: to dispose of it would leave open what the other thread has taken from it since.
                assert monotonic() < deadline
                threading.Event().wait(0.2)


def bodies_of(connection: Connection, department: str) -> list[bytes]:
    """Return the statements on a department's topic, partition by partition."""
    messages = log_of(connection, f"records.{department}")
    return [unframe(message.value())[1] for message in messages if message.key() is not None]


def status_of(connection: Connection, tax: Database, expect: int = 0) -> dict[str, Any]:
    """Return what `xinliu outbox status --json` says."""
    told: dict[str, Any] = json.loads(outbox_command(connection, tax, "status", "--json", expect=expect))
    return told
