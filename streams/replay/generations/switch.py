"""The switch to another generation, in one transaction, with the rows that do not follow from the logs carried over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

import psycopg
import structlog
from psycopg import sql as compose

from schemas.errors import Retryable, UsageError
from schemas.records.identity import digest_hex
from schemas.store.database import give_back
from schemas.store.sql_files import sql
from streams.exchange.outgoing.sharing import PORTION
from streams.projection.positions import PROJECTED
from streams.replay.generations.catch_up import CatchUp
from streams.runtime.crash_points import crash_point
from streams.runtime.locks import SERVING

__all__ = ["Switch", "Switched", "announce_changes", "figures"]

log = structlog.get_logger()

Store = psycopg.Connection[Any]

NEAR = 2_000
"""Limit of offsets to fold while the workers of the serving generation wait: some tenths of a second."""
_TRIES = 30
_PATIENCE = "5s"
"""Lock timeout for holders of the serving lock (a relay's round) and for the view's transactions."""

CARRIED = (
    ("DELETE FROM outbox", "outbox"),  # the former serving generation has published the same already
    ("DELETE FROM receipt_sent", "receipts"),
    ("DELETE FROM quality_day WHERE measure = 'VISIBLE'", "visible"),
    (None, "quarantine"),
    (None, "outcomes"),
    (None, "manifests"),
    ("DELETE FROM manifest_lines", "lines"),
    ("DELETE FROM record_difference", "differences"),
    (None, "rows"),
    (None, "requests"),
    (None, "exchange_differences"),
    (None, "progress"),
    (None, "reflected"),
)
"""Tables to carry over, in this order: the deletion before, and schemas/sql/replay/generations/<name>.sql."""


@dataclass(frozen=True, slots=True)
class Switched:
    """The result of a switch: outbox rows moved, records withdrawn from the exchange, seconds that the view waited."""

    moved: int
    withdrawn: int
    held_seconds: float


class _NotYet(Exception):
    """The generations are not at the same positions yet; try again."""


class Switch:
    """Switches from one generation to another. `store` is the owner's connection in autocommit, `own` the province.

    `note` is called at the end of the switch, inside its transaction.
    """

    def __init__(
        self,
        store: Store,
        own: str,
        old: tuple[int, CatchUp],
        new: tuple[int, CatchUp],
        *,
        note: Callable[[Switched], None],
    ) -> None:
        self._store, self._own, self._note = store, own, note
        (self._old, self._behind), (self._new, self._ahead) = old, new
        store.execute(compose.SQL("SET search_path = {}, xinliu, pg_catalog").format(_schema(self._new)))

    def approach(self, told: Callable[[int, int], None] = lambda _done, _of: None) -> int:
        """Catch up, beside the running workers, until the generations are close; return the number of folded messages.

        If the new generation is ahead, the serving one catches up first: it must publish everything before the switch.
        """
        folded = 0
        for _ in range(_TRIES):
            place = self._behind.stands()
            if beyond := {key: end for key, end in self._ahead.stands().items() if end > place[key]}:
                log.info("promote.catches_up_what_serves", generation=self._old, partitions=len(beyond))
                folded += self._behind.to(beyond, told)
                continue
            folded += self._ahead.to(place, told)
            if self._ahead.distance(self._behind.stands()) <= NEAR:
                return folded
        raise Retryable(
            f"generation {self._new} does not come close to generation {self._old}: the view folds faster than it can be caught"
            " up with; try again when less arrives"
        )

    def run(self) -> Switched:
        """Make the switch. Raises Retryable if the generations do not reach the same positions, or locks delay it."""
        self._store.execute("DROP TABLE IF EXISTS pg_temp.gone")
        self._store.execute(sql("replay/generations/gone"), {"own": self._own})
        for _ in range(_TRIES):
            try:
                return self._alone()
            except _NotYet:
                self.approach()
            except psycopg.errors.LockNotAvailable:
                log.info("promote.waits", why="others speak for the generation that serves, or write it")
                sleep(0.5)
        raise Retryable(
            "the switch was held up again and again: see what holds locks in PostgreSQL, then try again",
            server="postgres",
        )

    def _alone(self) -> Switched:
        self._store.execute(f"SET lock_timeout = '{_PATIENCE}'")
        self._store.execute("SELECT pg_advisory_lock(%s)", (SERVING,))
        try:
            with self._store.transaction():
                return self._switch()
        finally:
            give_back(self._store, "SELECT pg_advisory_unlock(%s)", (SERVING,))
            give_back(self._store, "RESET lock_timeout")

    def _switch(self) -> Switched:
        began = monotonic()
        place = self._locked(self._old)
        # The workers of the serving generation wait from here on.
        if self._ahead.distance(place) > NEAR:
            raise _NotYet
        self._ahead.to(place)
        if self._locked(self._new) != place:
            raise _NotYet
        moved = 0
        for clear, name in CARRIED:
            if clear is not None:
                self._store.execute(clear)
            carried = self._store.execute(_of(f"replay/generations/{name}", self._old))
            moved += carried.rowcount if name == "outbox" else 0
        withdrawn = self._withdraw()
        self._store.execute("UPDATE xinliu.generation SET state = 'RETIRED' WHERE generation = %s", (self._old,))
        served = self._store.execute(
            "UPDATE xinliu.generation SET state = 'SERVING' WHERE generation = %s AND state IN ('READY', 'RETIRED')",
            (self._new,),
        )
        if served.rowcount != 1:
            raise UsageError(f"generation {self._new} was dropped meanwhile: see `xinliu replay generations`")
        changed = self._store.execute(
            "UPDATE xinliu.serving SET generation = %s WHERE generation = %s", (self._new, self._old)
        )
        if changed.rowcount != 1:
            raise UsageError(f"generation {self._old} serves no more: somebody else has promoted another")
        switched = Switched(moved, withdrawn, round(monotonic() - began, 3))
        self._note(switched)
        crash_point("promote.inside-switch")
        return switched

    def _locked(self, generation: int) -> Mapping[tuple[str, int], int]:
        # In the order in which the view locks them, so that no two deadlock.
        rows = self._store.execute(
            compose.SQL(
                "SELECT topic, partition, next_offset FROM {} WHERE topic = ANY(%s) ORDER BY topic, partition FOR UPDATE"
            ).format(compose.Identifier(f"g{generation}", "position")),
            (list(PROJECTED),),
        )
        return {(topic, partition): offset for topic, partition, offset in rows}

    def _withdraw(self) -> int:
        query = sql("replay/generations/withdraw") + sql("exchange/outgoing/told") + sql("replay/generations/withdrawn")
        now = round(datetime.now(UTC).timestamp() * 1000)
        row = self._store.execute(query, {"own": self._own, "now": now, "portion": PORTION}).fetchone()
        assert row is not None
        return int(row[0])


def _there(store: Store, generation: int) -> bool:
    row = store.execute("SELECT to_regnamespace(%s) IS NOT NULL", (f"g{generation}",)).fetchone()
    return bool(row and row[0])


def _schema(generation: int) -> compose.Identifier:
    return compose.Identifier(f"g{generation}")


def _of(name: str, old: int) -> compose.Composed:
    return compose.SQL(sql(name)).format(old=_schema(old))


def announce_changes(store: Store, old: int) -> int:
    """Announce the entities whose view differs from that of the old generation; return their number.

    If the old generation has been dropped, nothing is announced.
    """
    if not _there(store, old):
        return 0
    row = store.execute(_of("replay/generations/changes", old)).fetchone()
    assert row is not None
    return int(row[0])


def figures(store: Store, generation: int) -> dict[str, Any]:
    """Return a generation's figures at one moment: records, their set digest in hexadecimal, and its positions."""
    if not _there(store, generation):
        return {"generation": generation}
    with store.transaction():
        store.execute(compose.SQL("SET LOCAL search_path = {}, xinliu, pg_catalog").format(_schema(generation)))
        row = store.execute(sql("replay/generations/figures")).fetchone()
    assert row is not None
    records, high, low, positions = row
    digest = digest_hex(high, low)
    return {"generation": generation, "records": records, "digest": digest, "positions": positions or {}}
