"""Promote and rollback: the cut-over to another generation, in named phases that each resume after a crash.

check: the generation may serve, and readers' views include it; catch up: it folds missing messages; switch: one
transaction; tell: the event on `operations`; announce: entities whose view has changed. The replay's `progress` stores
the phase. The switch writes it in its own transaction, so that the event always reports what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.operations.log import OperationsWriter
from schemas.operations.operators import require_reason
from schemas.operations.two_people import require_two
from schemas.servers.connection import Connection
from schemas.store.database import connect, serving_generation
from schemas.store.generations import Generation, generations
from schemas.store.serving_views import STATES, expose
from streams.replay.generations.catch_up import CatchUp
from streams.replay.generations.switch import Switch, Switched, announce_changes, figures
from streams.replay.plan.approval import operations_of, require_approved
from streams.replay.plan.ledger import Ledger, Replay
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import PROMOTE, Lead
from streams.view.cut_offs import require_cut

__all__ = ["Promoted", "Promotion"]

log = structlog.get_logger()

_KEY = "switch"
"""Key in a replay's `progress` with the phase of its promote or rollback."""

Told = Callable[[str, int, int], None]
"""Progress callback: phase, amount done, amount in all."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """The result of a promote or rollback: old and new generation, and the changes."""

    replay: str
    kind: str
    """REPLAY_PROMOTED or REPLAY_ROLLED_BACK."""
    old: int
    new: int
    resumed: bool
    """True if an earlier run had switched already, and this one published the event, or found nothing left to do."""
    moved: int = 0
    withdrawn: int = 0
    announced: int = 0
    held_seconds: float = 0.0


def _require_filled(replay: Replay) -> None:
    """Raise UsageError if this replay has filled no generation (yet)."""
    if replay.kind != "REBUILD":
        raise UsageError(
            f"replay {replay.replay} is a {replay.kind}: only a rebuild fills a generation that can be promoted"
        )
    if replay.state not in ("DONE", "PROMOTED", "ROLLED_BACK"):
        raise UsageError(
            f"replay {replay.replay} is {replay.state}: `xinliu replay rebuild {replay.replay}` fills its generation"
        )


class Promotion:
    """Promotes and rolls back, as the owner of the database; use it as a context. `by` is the operator (user@host).

    `person` is the operator's own connection to `operations`, to write events and read approvals.
    """

    def __init__(self, connection: Connection, *, by: str, person: Connection | None = None) -> None:
        self._connection, self._by, self._person = connection, by, person or connection

    def __enter__(self) -> Promotion:
        self._store: psycopg.Connection[Any] = connect(self._connection.database.get_secret_value(), autocommit=True)
        self._registry = Registry(self._connection.registry)
        writer = OperationsWriter(self._person.kafka, self._registry)
        self._ledger = Ledger(self._store, writer, by=self._by, said=lambda: operations_of(self._person))
        if not Lead(PROMOTE).take(self._store):
            self.__exit__()
            raise UsageError("another promote or rollback is under way: wait for it")
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()
        self._registry.close()

    def promote(self, name: str, reason: str, told: Told = lambda *_: None) -> Promoted:
        """Promote the generation of a replay (by its id, or the generation's number). Resumes an interrupted promote.

        Raises UsageError if it may not serve, Retryable if a server does not answer: the switch is then made entirely
        or not at all.
        """
        with _usual(self._store):
            replay = self._named(name)
            done = self._finish(told)
            target = self._generation(replay)
            if done is not None and (done.replay, done.new) == (replay.replay, target.number):
                return done
            if serving_generation(self._store) == target.number:
                return self._nothing_left(replay, target)
            _require_filled(replay)
            require_approved(self._person, replay, step="promote")
            return self._move(replay, "REPLAY_PROMOTED", target, reason, told)

    def rollback(self, reason: str, told: Told = lambda *_: None) -> Promoted:
        """Roll back to the generation that served before; no message that arrived meanwhile is lost.

        Raises UsageError if there is none, Retryable as `promote`.
        """
        with _usual(self._store):
            done = self._finish(told)
            if done is not None and done.kind == "REPLAY_ROLLED_BACK":
                return done
            replay, target = self._before()
            require_reason(reason)
            about = {"replay": replay.replay, "from": replay.generation, "to": target.number}
            proposal = require_two(self._person, "ROLL_BACK", about, reason)
            return self._move(replay, "REPLAY_ROLLED_BACK", target, reason, told, proposal)

    def _move(
        self, replay: Replay, kind: str, target: Generation, reason: str, told: Told, proposal: str | None = None
    ) -> Promoted:
        require_reason(reason)
        if target.state not in STATES:
            raise UsageError(
                f"generation {target.number} is {target.state}: only one that is READY or RETIRED can serve"
            )
        require_cut(operations_of(self._person), target.number)
        old = serving_generation(self._store)
        expose(self._store)
        plain = {"kind": kind, "from": old, "to": target.number, "by": self._by, "reason": reason.strip()}
        if proposal is not None:
            plain["proposal"] = proposal
        self._note(replay, {**plain, "phase": "checked"})
        crash_point("promote.checked")
        with (
            CatchUp(self._connection, target.number) as new,
            CatchUp(self._connection, old, silent=False) as behind,
        ):

            def note(switched: Switched) -> None:
                at = datetime.now(UTC).isoformat()
                self._note(replay, {**plain, **asdict(switched), "at": at, "phase": "switched"})

            switch = Switch(self._store, self._connection.province, (old, behind), (target.number, new), note=note)
            folded = switch.approach(lambda done, of: told("catches up", done, of))
            self._note(replay, {**plain, "phase": "caught-up", "folded": folded})
            crash_point("promote.caught-up")
            told("switches", 0, 1)
            switched = switch.run()
        log.info("promote.switched", old=old, new=target.number, **asdict(switched))
        crash_point("promote.switched")
        done = self._finish(told)
        assert done is not None
        return Promoted(**{**asdict(done), "resumed": False})

    def _finish(self, told: Told) -> Promoted | None:
        """Finish a switch whose event or announcement is missing; None if there is none."""
        for replay in self._ledger.all():
            state = replay.progress.get(_KEY, {})
            if state.get("phase") in ("switched", "told", "announced"):
                return self._tell(replay, dict(state), told)
        return None

    def _tell(self, replay: Replay, state: dict[str, Any], told: Told) -> Promoted:
        old, new = int(state["from"]), int(state["to"])
        self._store.execute(f"SET search_path = g{new:d}, xinliu, pg_catalog")
        if state["phase"] == "switched":
            told("tells", 0, 1)
            before, after = figures(self._store, old), figures(self._store, new)
            changed = {
                name: state[name] for name in ("moved", "withdrawn", "held_seconds", "proposal") if name in state
            }
            self._ledger.step(
                state["kind"], replay.replay, state["reason"], generation=replay.generation, before=before, after=after,
                switched_at=state["at"], switched_by=state["by"], **changed,
            )  # fmt: skip
            state |= {"phase": "told"}
            self._note(replay, state)
            crash_point("promote.told")
        if state["phase"] == "told":
            told("announces", 0, 1)
            with self._store.transaction():
                state |= {"phase": "announced", "announced": announce_changes(self._store, old)}
                self._note(replay, state)
            crash_point("promote.announced")
        self._note(replay, {**state, "phase": "done"})
        return Promoted(
            replay.replay, state["kind"], old, new, True, state["moved"], state["withdrawn"], state["announced"],
            state["held_seconds"],
        )  # fmt: skip

    def _nothing_left(self, replay: Replay, target: Generation) -> Promoted:
        last = replay.progress.get(_KEY, {})
        return Promoted(
            replay.replay, "REPLAY_PROMOTED", int(last.get("from", target.number)), target.number, resumed=True
        )

    def _note(self, replay: Replay, state: dict[str, Any]) -> None:
        self._store.execute(
            "UPDATE xinliu.replay SET progress = progress || jsonb_build_object(%s::text, %s::jsonb) WHERE replay = %s",
            (_KEY, Jsonb(state), replay.replay),
        )

    def _named(self, name: str) -> Replay:
        number = name.removeprefix("g")
        if not (number.isdecimal() and len(number) < 6):
            return self._ledger.get(name)
        made = next((one.replay for one in generations(self._store) if one.number == int(number)), "")
        if made == "":
            raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
        if made is None:
            raise UsageError(f"generation {number} was made by no replay: `xinliu replay rollback` goes back to it")
        return self._ledger.get(made)

    def _generation(self, replay: Replay) -> Generation:
        found = next((one for one in generations(self._store) if one.number == replay.generation), None)
        if found is None:
            raise UsageError(
                f"replay {replay.replay} has no generation: `xinliu replay rebuild {replay.replay}` fills one"
            )
        return found

    def _before(self) -> tuple[Replay, Generation]:
        serving, known = serving_generation(self._store), {one.number: one for one in generations(self._store)}
        replay = next(
            (one for one in self._ledger.all() if one.state == "PROMOTED" and one.generation == serving), None
        )
        if replay is None:
            raise UsageError(f"generation {serving} was not promoted: there is nothing to roll back")
        state = replay.progress.get(_KEY, {})
        retired = [number for number, one in known.items() if one.state == "RETIRED"]
        last = int(state["from"]) if state.get("to") == serving else max(retired, default=0)
        target = known.get(last)
        if target is None or target.state != "RETIRED":
            raise UsageError(f"the generation that served before {serving} was dropped: plan a rebuild instead")
        return replay, target


@contextmanager
def _usual(store: psycopg.Connection[Any]) -> Iterator[None]:
    """Raise Retryable if the connection is lost."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL: {str(error).strip() or type(error).__name__}", server="postgres") from error
    finally:
        if not store.closed:
            store.execute("RESET search_path")
