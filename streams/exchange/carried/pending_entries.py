"""Open entries of a province's quarantine, published to the other provinces (xinliu.PendingEntries).

With them 无 never means "received but refused". The origin compares its open entries with the published ones in the
snapshot of a checkpoint. The published state is certain only while this process continues from its own last message.
After a start, a failed round, another worker's round or a restored database it publishes all open entries again and
then, for each partition, that every older entry is over.
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

__all__ = ["CONTRACT", "Pending", "pending_fault", "project_pending"]

CONTRACT: Final = "xinliu.PendingEntries"

_USCC, _NAME = re.compile(r"[0-9A-Z]{18}"), re.compile(r"[a-z0-9-]{1,64}")
"""Formats of codes and catalogue keys: no other text of another province enters the tables."""

_AHEAD = 3_600
"""Seconds. Limit on how far a sequence, which follows the clock, may be ahead of its message: after the clock was set
back, it continues from the sequence before."""

Connection = psycopg.Connection[tuple[Any, ...]]


class Pending:
    """Rider of the quarantine's open entries (streams.exchange.carried.riders.Rider); one for the life of a publisher.

    It publishes everything in one round, however much it is: a checkpoint vouches for the messages of its round.
    """

    def __init__(self, province: str) -> None:
        self._province = province
        self._told: dict[int, int] | None = None
        """Partition → sequence that this object published last; None at the start."""

    def due(self, connection: Connection) -> tuple[OutgoingMessage, ...]:
        """Return the messages to publish, in order; `connection` is in the snapshot of the checkpoint that follows.

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
        # A restored table lacks sequences that were published: the clock then exceeds them.
        sequence = max(
            [round(at.timestamp() * 1000), *(one + 1 for one in (*stored.values(), *(self._told or {}).values()))]
        )
        places = partitions_of(pl.Series([uscc for uscc, _ in changed], dtype=pl.String), EXCHANGE_PARTITIONS).tolist()
        news = [(place, uscc, entries or []) for place, (uscc, entries) in zip(places, changed, strict=True)]
        # Behind the entries, so that no reader takes an open entry for over between the two.
        over = [] if certain else [(place, None, list[Any]()) for place in range(EXCHANGE_PARTITIONS)]
        messages = [self._message(*one, sequence, at) for one in (*news, *over)]
        # Set even if the round fails: until `sent` is committed, the table differs, and the state is uncertain.
        self._told = stored | {message.partition: sequence for message in messages}
        return tuple(messages)

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Store these as published, in the transaction that deletes the round's outbox rows."""
        if messages:
            connection.execute(
                sql("exchange/carried/pending_told"), {"rows": Jsonb([message.told for message in messages])}
            )

    def _message(
        self, partition: int, uscc: str | None, entries: Sequence[Mapping[str, Any]], sequence: int, at: datetime
    ) -> OutgoingMessage:
        # Compaction of a log keeps the newest message of a key.
        key = f"pending|{self._province}|{partition}|{uscc or ''}"
        told = {"partition": partition, "uscc": uscc, "sequence": sequence}
        since = [{**one, "since": datetime.fromtimestamp(one["since"] / 1000, UTC)} for one in entries]
        body = encode_own(CONTRACT, {**told, "province": self._province, "at": at, "entries": since})
        return OutgoingMessage(partition, key, CONTRACT, body, told={**told, "entries": entries})


def _anything(connection: Connection) -> bool:
    # Runs several times a second, and mostly finds nothing.
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM quarantine WHERE state = 'OPEN' AND uscc IS NOT NULL)"
        " OR EXISTS (SELECT FROM xinliu.shared_pending WHERE uscc <> '')"
    ).fetchone()
    return bool(row and row[0])


def pending_fault(message: Mapping[str, Any], province: str, partition: int) -> str | None:
    """Return why a province may not publish a decoded PendingEntries; None if it may."""
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
    """Upsert decoded PendingEntries, in any order and any number of times, in the view's transaction."""
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
