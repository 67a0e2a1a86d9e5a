"""What waits in a province's quarantine, told to the other provinces (xinliu.PendingEntries): 无 is never "received but refused".

The origin compares, in the snapshot of a checkpoint, what waits with what was told. What was told is known for certain only
while this process goes on from its own last word: after a start, a round that failed, another worker's round or a restored
database, everything that waits is told again, and behind it, partition by partition, that whatever is older is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from schemas.contracts.codec import encode_own
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.records.partitioning import partitions_of
from schemas.store.sql_files import sql
from streams.exchange.carried.riders import OutgoingMessage

__all__ = ["CONTRACT", "Pending", "project_pending", "wrong_in"]

CONTRACT: Final = "xinliu.PendingEntries"

_USCC, _NAME = re.compile(r"[0-9A-Z]{18}"), re.compile(r"[a-z0-9-]{1,64}")
"""What codes and keys of the catalogue look like: no other text of another province is taken into the tables."""

_AHEAD = 3_600
"""Seconds. How far a sequence, which follows the clock, may be ahead of its message: where the clock was set back,
it goes on behind it."""

Connection = psycopg.Connection[tuple[Any, ...]]


class Pending:
    """What is told of the quarantine beside statements (streams.exchange.carried.riders.Beside); one for the life of a publisher.

    All of it in one round, however much it is: a checkpoint vouches for what its round has told.
    """

    def __init__(self, province: str) -> None:
        self._province = province
        self._told: dict[int, int] | None = None
        """Partition → sequence that this object was the last to tell; None at the start."""

    def due(self, connection: Connection) -> tuple[OutgoingMessage, ...]:
        """Return what has to be told, in this order; `connection` is in the snapshot of the checkpoint that follows.

        Its search_path is the generation.
        """
        rows = connection.execute("SELECT partition, sequence FROM xinliu.shared_pending WHERE uscc = ''").fetchall()
        stored: dict[int, int] = dict(rows)
        certain = self._told == stored
        if certain and not _anything(connection):
            return ()
        changed = connection.execute(sql("exchange/carried/pending"), {"all": not certain}).fetchall()
        clock = connection.execute("SELECT clock_timestamp()").fetchone()
        assert clock is not None
        (at,) = clock
        # A table that was restored knows less than was told: the clock then says what is newer.
        sequence = max(
            [round(at.timestamp() * 1000), *(one + 1 for one in (*stored.values(), *(self._told or {}).values()))]
        )
        places = partitions_of(pl.Series([uscc for uscc, _ in changed], dtype=pl.String), EXCHANGE_PARTITIONS).tolist()
        news = [(place, uscc, entries or []) for place, (uscc, entries) in zip(places, changed, strict=True)]
        # Behind them, so that nothing that still waits is taken for over between the two.
        over = [] if certain else [(place, None, list[Any]()) for place in range(EXCHANGE_PARTITIONS)]
        messages = [self._message(*one, sequence, at) for one in (*news, *over)]
        # Whatever becomes of them: until `sent` has been made lasting, the table does not say the same.
        self._told = stored | {message.partition: sequence for message in messages}
        return tuple(messages)

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Write down that these were told, in the transaction that deletes the round's outbox rows."""
        if messages:
            connection.execute(
                sql("exchange/carried/pending_told"), {"rows": Jsonb([message.told for message in messages])}
            )

    def _message(
        self, partition: int, uscc: str | None, entries: Sequence[Mapping[str, Any]], sequence: int, at: datetime
    ) -> OutgoingMessage:
        # The key, so that a newer one takes the place of an older one where a log is compacted.
        key = f"pending|{self._province}|{partition}|{uscc or ''}"
        told = {"partition": partition, "uscc": uscc, "sequence": sequence}
        since = [{**one, "since": datetime.fromtimestamp(one["since"] / 1000, UTC)} for one in entries]
        body = encode_own(CONTRACT, {**told, "province": self._province, "at": at, "entries": since})
        return OutgoingMessage(partition, key, CONTRACT, body, told={**told, "entries": entries})


def _anything(connection: Connection) -> bool:
    # Asked several times a second, and mostly there is nothing.
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM quarantine WHERE state = 'OPEN' AND uscc IS NOT NULL)"
        " OR EXISTS (SELECT FROM xinliu.shared_pending WHERE uscc <> '')"
    ).fetchone()
    return bool(row and row[0])


def wrong_in(message: Mapping[str, Any], province: str, partition: int) -> str | None:
    """Return what a province may not have said in a decoded PendingEntries of its topic; None where nothing is wrong."""
    uscc, entries = message["uscc"], message["entries"]
    names = [name for one in entries for name in (one["domain"], one["department"])]
    checks = (
        (message["province"] != province, "it speaks for another province"),
        (message["partition"] != partition, "it speaks of another partition"),
        (uscc is None and entries, "what ends everything has entries"),
        (uscc is not None and not _USCC.fullmatch(uscc), "it names no entity"),
        (
            uscc is not None and int(partitions_of(pl.Series([uscc]), EXCHANGE_PARTITIONS)[0]) != partition,
            "its entity belongs to another partition",
        ),
        (not all(map(_NAME.fullmatch, names)), "an entry names no domain or department"),
        (any(one["open"] < 1 for one in entries), "an entry counts nothing"),
        (message["sequence"] > (message["at"].timestamp() + _AHEAD) * 1000, "its sequence is ahead of its time"),
        (
            any(one["since"].timestamp() > message["at"].timestamp() + _AHEAD for one in entries),
            "an entry waits since a time to come",
        ),
    )
    return next((what for wrong, what in checks if wrong), None)


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
    connection.execute(sql("exchange/carried/pending_received"), {"rows": Jsonb(rows)})
    begun = sorted({row["province"] for row in rows if not row["uscc"]})
    if begun:
        connection.execute(sql("exchange/carried/pending_over"), {"provinces": begun})
