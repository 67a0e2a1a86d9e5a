"""Sharing with the other provinces: the difference between wanted and shared records, in the view's transaction.

*Should be shared* is a record of our own that is in force, in a domain of mutual recognition (互认) today, of an entity
that is registered in one of the four provinces now; and every registration of our own. *Has been shared* is
xinliu.shared_record. The difference, whatever made it (a record, a registration of ours or of another province, a day
that begins, a domain that becomes mutual), becomes rows of the outbox that point into history, and the publisher
publishes them (publisher.py). schemas/sql/exchange/outgoing/decided.sql is the whole rule.

Every later statement of a shared record is shared too. A record that leaves the shared set, or its partition because a
correction takes it to another entity, is withdrawn in a new epoch; one that comes back begins another. So the highest
(epoch, version, digest) is valid everywhere, in whatever order statements and registrations come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import polars as pl
import psycopg

from schemas.calendar.periods import china_day
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.records.partitioning import partitions_of
from schemas.store.binary_copy import UuidArray, copy_rows
from schemas.store.sql_files import sql

__all__ = ["PORTION", "Sharing", "SharingCounts"]

Connection = psycopg.Connection[tuple[Any, ...]]

PORTION = 500
"""Entries of one outbox row, at most."""

_KEY = ("record_id", "department")
_ASKED = {
    "record_id": pl.Binary(),
    "department": pl.String(),
    "uscc": pl.String(),
    "domain": pl.String(),
    "kind": pl.String(),
    "status": pl.String(),
    "version": pl.Int64(),
    "digest_hi": pl.Int64(),
    "digest_lo": pl.Int64(),
}
"""A record's newest statement, in the columns that the rule needs. record_id is 16 bytes."""


@dataclass(frozen=True, slots=True)
class SharingCounts:
    """Records that are newly shared or followed, and records that are withdrawn (some are shared in another
    partition)."""

    shared: int
    withdrawn: int


NOTHING = SharingCounts(0, 0)


class Sharing:
    """The sharing rule, for one province and generation. Holds no connection: lanes and the sweep share one object.

    `clock` returns the time, UTC: China's day by it decides which domains are mutual and which registrations have
    ended.
    """

    def __init__(
        self, province: str, *, generation: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._province, self._generation, self._clock = province, generation, clock

    @property
    def today(self) -> date:
        """China's day."""
        return china_day(self._clock())

    def share(self, connection: Connection, taken: pl.DataFrame) -> SharingCounts:
        """Decide about the records that a batch changed, in its transaction; `taken` as `Projection.fold` returns it.

        To be called once in a transaction, after the fold, which locks the batch's rows.
        """
        own = taken.filter(pl.col("province") == self._province).select(*_ASKED)
        registrations = taken.filter(pl.col("kind") == "REGISTRATION")
        if not registrations.is_empty():
            entities = pl.concat([registrations["uscc"], registrations["uscc_held"].drop_nulls()]).unique()
            rows = self._rows(connection, "registered", {"uscc": entities.to_list()})
            own = pl.concat([own, rows.join(own, on=_KEY, how="anti")])
        return self._decide(connection, own)

    def decide_again(self, connection: Connection, keys: pl.DataFrame) -> SharingCounts:
        """Decide about these records (record_id, department) as they are now, in a transaction of its own."""
        names = {"record_ids": UuidArray(keys["record_id"]), "departments": keys["department"].to_list()}
        return self._decide(connection, self._rows(connection, "named", names))

    def differing(self, connection: Connection, first: UUID, limit: int) -> tuple[pl.DataFrame, UUID | None]:
        """Check `limit` own records from a record_id on, in a transaction of its own; nothing is locked or changed.

        Returns the keys of those that are not shared as they should be, and the id to go on from, None at the end: the
        last id again, because another department may use it too.
        """
        connection.execute(sql("exchange/outgoing/asked"))
        looked_at = connection.execute(
            sql("exchange/outgoing/chunk"), {"province": self._province, "after": first, "limit": limit}
        ).fetchall()
        query = sql("exchange/outgoing/decided") + sql("exchange/outgoing/differing")
        rows = connection.execute(query, self._facts(), binary=True).fetchall() if looked_at else []
        found = pl.DataFrame(rows, schema={name: _ASKED[name] for name in _KEY}, orient="row")
        return found, max(key for (key,) in looked_at) if len(looked_at) == limit else None

    def withdraw(self, connection: Connection, ask: str, values: dict[str, Any], *, after: str) -> int:
        """Withdraw the records that the statement `ask` inserts into the table asked, and return how many.

        Runs in the caller's transaction. `ask` inserts them so that the rule shares none; `after` runs while they are
        there. Then the table is emptied.
        """
        connection.execute(sql("exchange/outgoing/asked"))
        if not connection.execute(ask, values).rowcount:
            return 0
        query = sql("exchange/outgoing/decided") + sql("exchange/outgoing/told") + sql("exchange/outgoing/share")
        row = connection.execute(query, {**self._facts(), "portion": PORTION}).fetchone()
        assert row is not None
        connection.execute(after)
        connection.execute("DELETE FROM asked")
        return SharingCounts(*row).withdrawn

    def _decide(self, connection: Connection, asked: pl.DataFrame) -> SharingCounts:
        if asked.is_empty():
            return NOTHING
        places = pl.Series("partition", partitions_of(asked["uscc"], EXCHANGE_PARTITIONS)).cast(pl.Int16)
        connection.execute(sql("exchange/outgoing/asked"))
        copy_rows(connection, "asked", asked.with_columns(places), (*_ASKED, "partition"))
        query = sql("exchange/outgoing/decided") + sql("exchange/outgoing/told") + sql("exchange/outgoing/share")
        row = connection.execute(query, {**self._facts(), "portion": PORTION}).fetchone()
        assert row is not None
        return SharingCounts(*row)

    def _facts(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "generation": self._generation,
            "today": china_day(now),
            "now": round(now.timestamp() * 1000),
        }

    def _rows(self, connection: Connection, query: str, names: dict[str, Any]) -> pl.DataFrame:
        rows = connection.execute(
            sql(f"exchange/outgoing/{query}"), {**names, "province": self._province}, binary=True
        ).fetchall()
        return pl.DataFrame(rows, schema=_ASKED, orient="row")
