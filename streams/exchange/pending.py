"""What waits in a province's quarantine, told to the other provinces (xinliu.PendingEntries): 无 is never "received but refused".

The origin compares, in the snapshot of a checkpoint, what waits with what was told. What was told is known for certain only
while this process goes on from its own last word: after a start, a round that failed, another worker's round or a restored
database, everything that waits is told again, and behind it, partition by partition, that whatever is older is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from schemas.codec import encode_own
from schemas.exchange import EXCHANGE_PARTITIONS
from schemas.partitioning import partitions_of
from schemas.store import sql

__all__ = ["CONTRACT", "Pending", "PendingMessage", "project_pending", "wrong_in"]

CONTRACT: Final = "xinliu.PendingEntries"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message for `exchange.<own>`: of one entity, or (`uscc` is None) the end of what its partition was told before."""

    province: str
    partition: int
    uscc: str | None
    sequence: int
    at: datetime
    entries: Sequence[Mapping[str, Any]]
    """Of each: domain, department, open, since (milliseconds since 1970)."""

    @property
    def key(self) -> str:
        """The message's key: a newer one takes the place of an older one where a log is compacted."""
        return f"pending|{self.province}|{self.partition}|{self.uscc or ''}"

    @property
    def body(self) -> bytes:
        """The Avro body (CONTRACT), without the 5 bytes before it."""
        entries = [{**one, "since": datetime.fromtimestamp(one["since"] / 1000, UTC)} for one in self.entries]
        return encode_own(
            CONTRACT,
            {
                "province": self.province,
                "partition": self.partition,
                "uscc": self.uscc,
                "sequence": self.sequence,
                "at": self.at,
                "entries": entries,
            },
        )


class Pending:
    """What the publisher of `exchange.<own>` has to say of the quarantine.

    Only in rounds that drain the outbox, and behind the statements of the run: a refused record that was let through must
    never be over elsewhere before it is there.
    """

    def __init__(self, province: str) -> None:
        self._province = province
        self._told: dict[int, int] | None = None
        """Partition → sequence that this object was the last to tell; None at the start."""

    def due(self, connection: Connection) -> tuple[PendingMessage, ...]:
        """Return what has to be told, in this order; `connection` is in the snapshot of the checkpoint that follows.

        Its search_path is the generation.
        """
        rows = connection.execute("SELECT partition, sequence FROM xinliu.shared_pending WHERE uscc = ''").fetchall()
        stored: dict[int, int] = dict(rows)
        certain = self._told == stored
        changed = connection.execute(sql("exchange/pending"), {"all": not certain}).fetchall()
        clock = connection.execute("SELECT clock_timestamp()").fetchone()
        assert clock is not None
        (at,) = clock
        # A table that was restored knows less than was told: the clock then says what is newer.
        sequence = max(
            [round(at.timestamp() * 1000), *(one + 1 for one in (*stored.values(), *(self._told or {}).values()))]
        )
        places = partitions_of(pl.Series([uscc for uscc, _ in changed], dtype=pl.String), EXCHANGE_PARTITIONS).tolist()
        messages = [
            PendingMessage(self._province, place, uscc, sequence, at, entries or [])
            for place, (uscc, entries) in zip(places, changed, strict=True)
        ]
        if not certain:
            messages += [
                PendingMessage(self._province, place, None, sequence, at, []) for place in range(EXCHANGE_PARTITIONS)
            ]
        # Whatever becomes of them: until `sent` has been made lasting, the table does not say the same.
        self._told = stored | {message.partition: sequence for message in messages}
        return tuple(messages)

    def sent(self, connection: Connection, messages: Sequence[PendingMessage]) -> None:
        """Write down that these were told, in the transaction that deletes the round's outbox rows."""
        if messages:
            rows = [
                {"partition": one.partition, "uscc": one.uscc, "sequence": one.sequence, "entries": one.entries}
                for one in messages
            ]
            connection.execute(sql("exchange/pending_told"), {"rows": Jsonb(rows)})


def wrong_in(message: Mapping[str, Any], province: str, partition: int) -> str | None:
    """Return what a province may not have said in a decoded PendingEntries of its topic; None where nothing is wrong."""
    uscc = message["uscc"]
    if message["province"] != province:
        return f"it speaks for {message['province']!r}"
    if message["partition"] != partition:
        return f"it speaks of partition {message['partition']}"
    if uscc is None:
        return "what ends everything has entries" if message["entries"] else None
    if not (len(uscc) == 18 and uscc.isascii() and uscc.isalnum()):
        return "it names no entity"
    if int(partitions_of(pl.Series([uscc]), EXCHANGE_PARTITIONS)[0]) != partition:
        return "its entity belongs to another partition"
    return None


def project_pending(connection: Connection, messages: Iterable[Mapping[str, Any]]) -> None:
    """Take over decoded PendingEntries, in any order and as often as they come; `connection` is in the view's transaction."""
    rows = [
        {
            "province": one["province"],
            "partition": one["partition"],
            "uscc": one["uscc"] or "",
            "sequence": one["sequence"],
            "at": one["at"].isoformat(),
            "entries": [{**entry, "since": round(entry["since"].timestamp() * 1000)} for entry in one["entries"]],
        }
        for one in messages
    ]
    if not rows:
        return
    connection.execute(sql("exchange/pending_received"), {"rows": Jsonb(rows)})
    begun = sorted({row["province"] for row in rows if not row["uscc"]})
    if begun:
        connection.execute(sql("exchange/pending_over"), {"provinces": begun})
