"""The steward: holds the owner's rights, and carries out steps that two people want, so that no person needs these
rights.

A person requests a step by an event (REPLAY_REQUESTED). The steward runs the same command as an operator, with its own
credentials: it checks approvals against the log when the step begins, with settings and a catalogue that the person
cannot change. The result is an event, too. It carries out one request at a time; it resumes an interrupted one, as its
step does.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

import structlog

from schemas.contracts.registry import Registry
from schemas.errors import Retryable, XinliuError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader, OperationsWriter
from schemas.operations.operators import PERSONAL, operator_event
from schemas.operations.topics import REQUEST_DONE
from schemas.servers.connection import Connection

__all__ = ["REQUESTED", "STEPS", "Steward", "words_of"]

log = structlog.get_logger()

REQUESTED = "REPLAY_REQUESTED"
"""A person requests a step: detail.step (a key of STEPS) and detail.replay, which a rollback does not need."""

STEPS = {
    "CORRECT": ("replay", "correct", "{replay}", "--yes", "--json"),
    "REBUILD": ("replay", "rebuild", "{replay}", "--json"),
    "REDRIVE": ("replay", "redrive", "{replay}", "--json"),
    "REPUSH": ("replay", "repush", "{replay}", "--yes", "--json"),
    "PROMOTE": ("replay", "promote", "{replay}", "--reason", "{reason}", "--json"),
    "ROLL_BACK": ("replay", "rollback", "--reason", "{reason}", "--json"),
}
"""The steps that may be requested, and their commands."""

_PAUSE = 1.0
_LONGEST_OUTPUT = 50_000
"""Characters of output in an event: far below the broker's limit."""

Runs = Callable[[Sequence[str]], int]
"""Runs a command with the steward's rights; returns its exit code."""


def words_of(request: Operation) -> list[str] | None:
    """Return the command of a request; None if there is no such step, or no person requests it.

    >>> at = datetime(2026, 11, 23, tzinfo=UTC)
    >>> words_of(Operation(REQUESTED, None, at, "operator-zhang@desk", "上线", {"step": "PROMOTE", "replay": "ab12"}, vouched=True))
    ['replay', 'promote', 'ab12', '--reason', '上线', '--json']
    """
    step, replay = request.detail.get("step"), request.detail.get("replay") or ""
    words = STEPS.get(step) if isinstance(step, str) else None
    # A name, and nothing that a command could read as an option.
    named = isinstance(replay, str) and (
        (replay.isalnum() and replay.isascii()) or (replay == "" and step == "ROLL_BACK")
    )
    asked = request.kind == REQUESTED and request.vouched and request.by.startswith(PERSONAL)
    if words is None or not named or not asked or not request.reason.strip() or request.reason.startswith("-"):
        return None
    return [word.format(replay=replay, reason=request.reason) for word in words]


class Steward:
    """Follows operations and carries out requests until stopped. `runs` runs a command in this process."""

    def __init__(self, connection: Connection, runs: Runs) -> None:
        self._connection, self._runs = connection, runs
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until `stop`; if a server does not answer, log that and wait for it."""
        with Registry(self._connection.registry) as registry:
            while not self._stopped.is_set():
                try:
                    self._follow(registry)
                except Retryable as error:
                    log.warning("steward.waits", why=str(error))
                    self._stopped.wait(_PAUSE)

    def stop(self) -> None:
        """End `run` after the request that is under way."""
        self._stopped.set()

    def _follow(self, registry: Registry) -> None:
        waiting: dict[str, Operation] = {}
        reader = OperationsReader(self._connection.kafka, registry, principal="steward")
        try:
            held = reader.held()
            done = {str(one.detail.get("request")) for one in held if one.kind == REQUEST_DONE}

            def take(one: Operation) -> None:
                if one.kind == REQUESTED and one.id not in done:
                    waiting.setdefault(one.id, one)

            for one in held:
                take(one)
            writer = OperationsWriter(self._connection.kafka, registry)
            while not self._stopped.is_set():
                for request in list(waiting.values()):
                    writer.write(self._answer(request))
                    done.add(request.id)
                    del waiting[request.id]
                reader.look_for_topics()
                for one in reader.read(0.5):
                    take(one)
        finally:
            reader.close()

    def _answer(self, request: Operation) -> Operation:
        detail: dict[str, Any] = {"request": request.id, "by": request.by, "exit_code": 2}
        words = words_of(request)
        if words is None:
            detail["error"] = "this asks for nothing that the steward does, or no person asks it"
        else:
            log.info("steward.begins", request=request.id, by=request.by, words=words)
            said = io.StringIO()
            try:
                with redirect_stdout(said):
                    detail["exit_code"] = self._runs(words)
            except XinliuError as error:
                detail |= {"exit_code": error.exit_code, "error": str(error)}
            except Exception as error:  # noqa: BLE001  # one request must not stop the others
                log.error("steward.failed", request=request.id, why=repr(error))
                detail |= {"exit_code": 3, "error": str(error) or repr(error)}
            detail["output"] = said.getvalue()[-_LONGEST_OUTPUT:]
        log.info("steward.answers", request=request.id, exit_code=detail["exit_code"], error=detail.get("error"))
        kafka = self._connection.kafka
        return operator_event(kafka, REQUEST_DONE, request.reason, detail)
