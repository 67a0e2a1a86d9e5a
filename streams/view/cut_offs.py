"""Cut-offs: two operators' decision not to fold a province's statements under a key, in a time by our broker's clock.

A cut-off is a replay of kind CORRECT with `cut_off` in its scope. It is planned, approved by a second person and run
like every other replay (streams/replay/plan/approval.py). From then on it applies to every fold: live, repeated or into
a new generation. Time and key are those that intake wrote beside each statement, so that no date written by the
province exempts a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg

from schemas.errors import UsageError
from schemas.identifiers.persons import names_person
from schemas.operations.event import Operation
from schemas.store.sql_files import sql
from streams.forwarding.findings import finding
from streams.forwarding.masking import keepable
from streams.kafka.headers import ORIGIN, SIGNED, Origin, header
from streams.kafka.records import Record
from streams.kafka.scope import ReplayScope
from streams.view.withheld import Withheld

__all__ = ["Cuts", "cuts_of", "require_cut"]


@dataclass(frozen=True, slots=True)
class Cuts:
    """The cut-offs in force."""

    scopes: tuple[ReplayScope, ...] = ()

    def hold(self, statements: pl.DataFrame, records: Sequence[Record]) -> tuple[pl.DataFrame, tuple[Withheld, ...]]:
        """Return the statements that stand, and those that are cut off; our own departments' always stand.

        `statements` come as the view stage decodes them; `row` is an index into `records`.
        """
        if not self.scopes or statements["epoch"].max() == 0:
            return statements, ()
        foreign = statements.filter(pl.col("epoch") > 0).select("row", "province").rows()
        cut = {row for row, province in foreign if self._holds(province, records[row])}
        if not cut:
            return statements, ()
        chosen = pl.col("row").is_in(sorted(cut))
        known = statements.filter(chosen).rows(named=True)
        return statements.filter(~chosen), tuple(_withheld(one, records[one["row"]]) for one in known)

    def _holds(self, province: str, record: Record) -> bool:
        at, signed = datetime.fromtimestamp(record.timestamp / 1000, UTC), header(record.headers, SIGNED)
        return any(
            scope.province == province
            # A version that did not keep the key accepted it: it may be this key.
            and (scope.key is None or signed is None or signed == scope.key.encode())
            and (scope.since is None or scope.since <= at)
            and (scope.until is None or at < scope.until)
            for scope in self.scopes
        )


def cuts_of(connection: psycopg.Connection[Any], *, beside: Sequence[ReplayScope] = ()) -> Cuts:
    """Return the cut-offs in force here, and those in `beside`, which are about to be."""
    rows = connection.execute(sql("view/cuts")).fetchall()
    found = [ReplayScope.from_detail(row[0]) for row in rows]
    return Cuts((*found, *(scope for scope in beside if scope.cut_off and scope not in found)))


def require_cut(operations: Iterable[Operation], generation: int) -> None:
    """Raise UsageError if statements were cut off after the generation was filled: serving it would bring them back.

    `operations` are all events, in the broker's order.
    """
    known = list(operations)
    over = {one.detail.get("replay") for one in known if one.kind == "REPLAY_ABANDONED"}
    holding = {
        one.detail.get("replay")
        for one in known
        if one.kind == "REPLAY_PLANNED" and isinstance(scope := one.detail.get("scope"), dict) and scope.get("cut_off")
    }
    filled = False
    missed: dict[Any, Operation] = {}
    for one in known:
        if one.kind != "REPLAY_RUNNING":
            continue
        if one.detail.get("generation") == generation and not filled:
            filled = True
            holding -= missed.keys()  # a build does not fold statements that were cut off before it
            missed.clear()
        elif (replay := one.detail.get("replay")) in holding - over:
            missed.setdefault(replay, one)
            if one.detail.get("serving") == generation:
                holding.discard(replay)
                del missed[replay]
    if missed:
        one = next(iter(missed.values()))
        raise UsageError(
            f"generation {generation} was filled before {one.detail['replay']} cut off what was not to be believed"
            f" ({one.when:%Y-%m-%d %H:%M} UTC), and still holds it: build another one (`xinliu replay plan --all`)"
        )


def _withheld(said: dict[str, Any], record: Record) -> Withheld:
    origin = Origin.from_bytes(header(record.headers, ORIGIN) or b"")
    return Withheld(
        record_id=keepable(said["record_id"]) or "",
        version=said["version"],
        digest_hi=said["digest_hi"],
        digest_lo=said["digest_lo"],
        uscc=None if names_person(said["uscc"]) else keepable(said["uscc"]),
        department=origin.department,
        accepted_partition=said["accepted_partition"],
        accepted_offset=said["accepted_offset"],
        findings=(finding("CUT_OFF"),),
        origin=origin,
        domain=keepable(said["domain"]),
        received_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )
