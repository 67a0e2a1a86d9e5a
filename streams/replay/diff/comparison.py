"""The comparison of two generations: digests of buckets first, then entities, records and fields of those that differ.

It runs in one snapshot. The credit views have a digest of all stored records, by entity, province and domain; equal
digests are equal statements. Columns that are not part of a statement (known_at, computed columns) and history are
compared only with `deep`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql as compose
from psycopg.rows import class_row

from schemas.errors import UsageError
from schemas.store.generations import Generation, generations
from schemas.store.sql_files import sql
from streams.replay.diff.differences import Compared, RecordChange, StateChange

__all__ = ["BUCKETS", "GenerationComparison", "compared", "generations_to_compare", "record_changes", "state_changes"]

Connection = psycopg.Connection[Any]

BUCKETS = 4_096
_ENTITIES = "digests of the credit views (statements held, by entity, province and domain)"
_DEEP = "every column that both have, of every record and of every statement in its history, row by row"
_NOT = "; not compared: known_at and computed columns of equal statements, history (--deep), quarantine, exchange"
_NOT_DEEP = "; not compared: quarantine, exchange"
_OWN = ("writer", "accepted_partition", "accepted_offset")
"""Columns that are a generation's own: its number of a schema, and the offset of the copy that it found in the log."""
_VIEW_KEY = compose.SQL("hashtext(uscc)")
_VIEW_HASH = compose.SQL(
    "hashint8extended(digest_lo # records, hashtextextended(uscc, digest_hi # ((penalties::bigint << 32) | listings)))"
)
"""Entity, counts, and the digest of the stored records, which covers province and domain too; a hash of whole rows took
twice as long."""
_RECORD_KEY = compose.SQL("uuid_hash(record_id)")
_RANKS = "(o.epoch, o.version, o.digest_hi, o.digest_lo, o.uscc, o.domain, o.status) IS DISTINCT FROM (n.epoch, n.version, n.digest_hi, n.digest_lo, n.uscc, n.domain, n.status)"


def generations_to_compare(connection: Connection, numbers: tuple[int, ...]) -> tuple[Generation, Generation]:
    """Return the generations to compare: the two named; or the serving one and the one named or the newest READY one.

    Raises UsageError if there is no such generation.
    """
    row = connection.execute("SELECT generation FROM xinliu.serving").fetchone()
    held = {one.number: one for one in generations(connection) if one.state != "DROPPED"}
    if row is None:
        raise UsageError("the database serves no generation: run `xinliu migrate`")
    if not numbers:
        ready = [number for number, one in held.items() if one.state == "READY"]
        if not ready:
            raise UsageError(
                "no generation is READY: name two, as `xinliu replay generations` has them, or rebuild one"
            )
        numbers = (max(ready),)
    if len(numbers) == 1:
        numbers = (int(row[0]), *numbers)
    for number in numbers:
        if number not in held:
            raise UsageError(f"there is no generation {number}: see `xinliu replay generations`")
    if numbers[0] == numbers[1]:
        raise UsageError(f"generation {numbers[0]} is no other than itself: name two")
    return held[numbers[0]], held[numbers[1]]


class GenerationComparison:
    """Compares two generations over one connection; use `snapshot` as a context, and read the differences within it."""

    def __init__(self, connection: Connection, old: Generation, new: Generation, *, deep: bool = False) -> None:
        self._connection, self._old, self._new, self._deep = connection, old, new, deep
        connection.execute("SET plan_cache_mode = force_custom_plan")
        connection.execute("SET jit = off")

    @contextmanager
    def snapshot(self) -> Iterator[Compared]:
        """Compare; within the context, `state_changes` and `record_changes` return the differences."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._connection.execute("SET LOCAL client_min_messages = warning")
            # Both sides are read once and in whole: their sorts and hashes belong in memory.
            self._connection.execute("SET LOCAL work_mem = '128MB'")
            # The planner cannot know the number of buckets, and estimates too many for parallel work.
            for cost in ("parallel_setup_cost", "parallel_tuple_cost"):
                self._connection.execute(compose.SQL("SET LOCAL {} = 0").format(compose.Identifier(cost)))
            self._connection.execute(sql("replay/diff/differences"))
            yield self._compare()

    def _compare(self) -> Compared:
        common, only_old, only_new = self._columns("record")
        whole = self._run("whole", {}, hash=_VIEW_HASH).fetchone()
        assert whole is not None
        old_rows, new_rows, equal = whole
        buckets = [] if equal else self._buckets("credit_view", _VIEW_KEY, _VIEW_HASH)[2]
        differing = len(buckets)
        if buckets:
            self._run("turned", {"mask": BUCKETS - 1, "buckets": buckets})
            self._connection.execute("ANALYZE turned")
            entities = compose.SQL("r.uscc IN (SELECT uscc FROM turned)")
            self._changes(common, entities, compose.SQL(_RANKS), {})
        if self._deep:
            old_rows, new_rows, deeper = self._row_buckets("record", common)
            differing += len(deeper)
            if deeper:
                self._connection.execute("DELETE FROM changed")
                there = compose.SQL("uuid_hash(r.record_id) & %(mask)s = ANY(%(buckets)s)")
                self._changes(common, there, _differs(common), {"mask": BUCKETS - 1, "buckets": deeper})
            past, past_old, past_new = self._columns("record_history")
            only_old += [f"record_history.{name}" for name in past_old]
            only_new += [f"record_history.{name}" for name in past_new]
            older, newer, deeper = self._row_buckets("record_history", past)
            old_rows, new_rows, differing = old_rows + older, new_rows + newer, differing + len(deeper)
            if deeper:
                told = {"common": past, "mask": BUCKETS - 1, "buckets": deeper}
                self._run("past", self._with_positions(told), differs=_differs(past))
        self._connection.execute(sql("replay/diff/explained"))
        return compared(
            self._connection, self._old.schema, self._new.schema, _DEEP + _NOT_DEEP if self._deep else _ENTITIES + _NOT,
            rows=(old_rows, new_rows), buckets=BUCKETS * (3 if self._deep else 1), differing=differing,
            only=(only_old, only_new),
        )  # fmt: skip

    def _columns(self, relation: str) -> tuple[list[str], list[str], list[str]]:
        held: list[list[str]] = []
        for schema in (self._old.schema, self._new.schema):
            rows = self._connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
                " AND NOT attname = ANY(%s) ORDER BY attname",
                (f"{schema}.{relation}", list(_OWN)),
            )
            held.append([str(name) for (name,) in rows])
        old, new = held
        return [n for n in old if n in new], [n for n in old if n not in new], [n for n in new if n not in old]

    def _row_buckets(self, relation: str, columns: list[str]) -> tuple[int, int, list[int]]:
        named = compose.SQL(", ").join(map(compose.Identifier, columns))
        return self._buckets(relation, _RECORD_KEY, compose.SQL("hash_record_extended(ROW ({}), 0)").format(named))

    def _buckets(
        self, relation: str, key: compose.Composable, hashed: compose.Composable
    ) -> tuple[int, int, list[int]]:
        parts = {"relation": compose.Identifier(relation), "key": key, "hash": hashed}
        row = self._run("buckets", {"mask": BUCKETS - 1}, **parts).fetchone()
        assert row is not None
        return int(row[0]), int(row[1]), list(row[2])

    def _changes(
        self, common: list[str], where: compose.Composable, differs: compose.Composable, values: dict[str, Any]
    ) -> None:
        told = self._with_positions({"common": common, **values})
        self._run("changed", told, chosen_old=where, chosen_new=where, differs=differs)
        self._connection.execute("ANALYZE changed")

    def _with_positions(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values with the partitions of `accepted` in which one is ahead, and the offset reached by both."""
        rows = self._run_text(
            "SELECT o.partition, LEAST(o.next_offset, n.next_offset) FROM {old}.position o JOIN {new}.position n"
            " USING (topic, partition) WHERE topic = 'accepted' AND o.next_offset <> n.next_offset"
        ).fetchall()
        return {**values, "partitions": [int(row[0]) for row in rows], "reached": [int(row[1]) for row in rows]}

    def _run(self, name: str, values: dict[str, Any], **parts: compose.Composable) -> psycopg.Cursor[Any]:
        return self._run_text(sql(f"replay/diff/{name}"), values, **parts)

    def _run_text(
        self, text: str, values: dict[str, Any] | None = None, **parts: compose.Composable
    ) -> psycopg.Cursor[Any]:
        schemas = {"old": compose.Identifier(self._old.schema), "new": compose.Identifier(self._new.schema)}
        return self._connection.execute(compose.SQL(text).format(**schemas, **parts), values)


def _differs(columns: list[str]) -> compose.Composable:
    return compose.SQL("ROW ({}) IS DISTINCT FROM ROW ({})").format(_of("o", columns), _of("n", columns))


def _of(alias: str, columns: list[str]) -> compose.Composable:
    return compose.SQL(", ").join(compose.Identifier(alias, name) for name in columns)


def compared(
    connection: Connection,
    old: str,
    new: str,
    what: str,
    *,
    rows: tuple[int, int],
    buckets: int = 0,
    differing: int = 0,
    only: tuple[list[str], list[str]] = ([], []),
) -> Compared:
    """Return the summary of the tables `turned` and `changed` of this session."""
    words = connection.execute(sql("replay/diff/turned_words")).fetchall()
    summary = connection.execute(
        "SELECT domain, department, change, count(*) FROM changed WHERE NOT later GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).fetchall()
    row = connection.execute(
        "SELECT (SELECT count(*) FROM changed WHERE later), (SELECT count(*) FROM turned WHERE NOT explained)"
    ).fetchone()
    assert row is not None
    return Compared(
        old, new, what, *rows, buckets, differing, {(was, becomes): n for was, becomes, n in words},
        [(domain, department, change, n) for domain, department, change, n in summary], int(row[0]), int(row[1]), *only,
    )  # fmt: skip


def state_changes(connection: Connection, *, limit: int | None = None) -> Iterator[StateChange]:
    """Yield entities and domains that differ: first those with 有 → 无, then those with 无 → 有, then the others."""
    with connection.cursor("turns", row_factory=class_row(StateChange)) as cursor:
        yield from cursor.execute(sql("replay/diff/turns"), {"limit": limit})


def record_changes(connection: Connection, *, limit: int | None = None) -> Iterator[RecordChange]:
    """Yield the records that differ, by entity."""
    with connection.cursor("changes", row_factory=class_row(RecordChange)) as cursor:
        yield from cursor.execute(
            "SELECT record_id, province, department, domain, old_uscc, new_uscc, change, old_status, new_status,"
            " old_version, new_version, codes, fields FROM changed WHERE NOT later"
            " ORDER BY COALESCE(old_uscc, new_uscc), domain, record_id, province, department LIMIT %s",
            (limit,),
        )
