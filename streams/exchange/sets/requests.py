"""Requests for differing sets of other provinces: the question, the comparison with its answer, and the repair.

At a checkpoint the view finds that its copy of another province's set differs (foreign_domain). The digests of the
set's buckets then go out with the status; the origin answers with the records that it shares in the differing buckets
(answers.py). At the answer's place in `accepted` the view names the differing records (exchange_difference). The
statements behind the answer mend missing and older records; the view withdraws extra ones here, and checks newer or
otherwise different ones against the log. The first checkpoint that compares equal closes all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
import structlog
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from schemas.contracts.avro import own_fingerprint, parsed, source
from schemas.contracts.codec import encode_own
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import WriterSchema
from schemas.exchange.topics import EXCHANGE_PARTITIONS, WITHDRAWN
from schemas.store.sql_files import sql
from streams.exchange.carried.message import Carried
from streams.exchange.sets.buckets import MOST_BITS, packed, span
from streams.forwarding.masking import keepable

__all__ = [
    "ALARM_TRIES",
    "close_sets",
    "differing_sets",
    "name_differences",
    "records_in_doubt",
    "records_to_take_out",
    "request_sets",
    "set_fault",
]

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]

WINDOW = timedelta(seconds=6)
"""A question stands in the status for this long; the status is published at least every 5 seconds."""
PAUSE, LONGEST = timedelta(seconds=10), timedelta(minutes=10)
"""Back-off between two questions about one set: the first pause, doubled each time, and the longest."""
ALARM_TRIES = 5
"""A set that still differs after so many questions is logged as an error: an operator must look at it."""
_MOST = 16
"""Sets that are requested at a time, at most: 4 kB of a status each, 64 kB if they are large."""
_SMALL = 250_000
"""Records of a set up to which 256 buckets divide it well enough."""
_STATEMENT = "xinliu.Statement"
_NUMBERS = ("epoch", "version", "digest_hi", "digest_lo")
WRITER = WriterSchema(0, _STATEMENT, own_fingerprint(_STATEMENT), source(_STATEMENT), parsed(_STATEMENT))
"""Writer schema of a removal."""


def differing_sets(connection: Connection) -> list[dict[str, Any]]:
    """Return the sets that are requested now, as in xinliu.ExchangeStatus; read in the snapshot of a status."""
    values = {"window": WINDOW, "most": _MOST, "small": _SMALL}
    rows = connection.execute(sql("exchange/sets/asked"), values).fetchall()
    if not rows:
        return []
    provinces, partitions, domains, bits = (list(column) for column in zip(*rows, strict=True))
    asked = {
        "provinces": provinces,
        "partitions": partitions,
        "domains": domains,
        "bits": bits,
        "all": EXCHANGE_PARTITIONS,
    }
    held: dict[int, list[tuple[int, int, int]]] = {place: [] for place in range(1, len(rows) + 1)}
    for place, *bucket in connection.execute(sql("exchange/sets/held"), asked):
        held[place].append((bucket[0], bucket[1], bucket[2]))
    return [
        {"province": province, "partition": partition, "domain": domain, "bits": b, "digests": packed(b, held[place])}
        for place, (province, partition, domain, b) in enumerate(rows, 1)
    ]


def request_sets(connection: Connection) -> int:
    """Store which sets are requested from now on; return how many have been requested in vain too often."""
    values = {"window": WINDOW, "most": _MOST, "pause": PAUSE, "longest": LONGEST}
    for province, partition, domain, tries in connection.execute(sql("exchange/sets/ask"), values).fetchall():
        tell = log.error if tries >= ALARM_TRIES else log.warning
        tell("exchange.differs", province=province, partition=partition, domain=domain, asked_for=tries)
    row = connection.execute("SELECT count(*) FROM exchange_request WHERE tries >= %s", (ALARM_TRIES,)).fetchone()
    assert row is not None
    return int(row[0])


def close_sets(connection: Connection) -> int:
    """Close the sets that compare equal at the last checkpoints; return the number of their named records."""
    mended = 0
    for province, difference, records in connection.execute(sql("exchange/sets/closed")).fetchall():
        log.warning("exchange.mended", province=province, difference=difference, records=records)
        mended += records
    return mended


def set_fault(message: Any, province: str, partition: int) -> str | None:
    """Return why a province may not publish a decoded SharedSet; None if it may."""
    bits, buckets, lines = message["bits"], message["buckets"], message["lines"]
    checks = (
        (message["province"] != province, "it speaks for another province"),
        (message["partition"] != partition, "it speaks of another partition"),
        (not 0 <= bits <= MOST_BITS, "it parts records by too many bits"),
        (
            keepable(message["domain"]) is None or any(keepable(line["department"]) is None for line in lines),
            "a name that is none",
        ),
        (
            not all(-(1 << 63) <= line[name] < 1 << 63 for line in lines for name in _NUMBERS),
            "a number of more than 64 bits",
        ),
        (len(set(buckets)) != len(buckets), "a bucket twice"),
        (
            not all(0 <= bucket < 1 << max(0, min(bits, MOST_BITS)) for bucket in buckets),
            "a bucket that its bits do not make",
        ),
        (
            not all(_in_buckets(line["record_id"], bits, set(buckets)) for line in lines),
            "a record of no bucket that it names",
        ),
    )
    return next((why for wrong, why in checks if wrong), None)


def _in_buckets(record_id: str, bits: int, buckets: set[int]) -> bool:
    try:
        return len(record_id) == 32 and UUID(record_id).int >> (128 - bits) in buckets
    except ValueError:
        return False


def name_differences(connection: Connection, came: Sequence[Carried]) -> None:
    """Name the records in which the copy here differed from these sets when they came, in the view's transaction."""
    for one in came:
        told = one.value
        spans = [span(told["bits"], bucket) for bucket in told["buckets"]]
        values = {
            "province": one.province, "partition": one.partition, "domain": told["domain"], "before": one.accepted_offset,
            "lines": Jsonb(list(told["lines"])), "first": [first for first, _ in spans], "last": [last for _, last in spans],
            "all": EXCHANGE_PARTITIONS,
        }  # fmt: skip
        named = Counter(difference for (difference,) in connection.execute(sql("exchange/sets/named"), values))
        for difference, records in sorted(named.items()):
            log.error(
                "exchange.named", province=one.province, partition=one.partition, domain=told["domain"],
                difference=difference, records=records,
            )  # fmt: skip


def records_in_doubt(connection: Connection, after: datetime, most: int) -> list[UUID]:
    """Return records named after `after` whose copy here is newer, or of other content, than their province shares."""
    rows = connection.execute(sql("exchange/sets/doubted"), {"after": after, "most": most})
    return [record_id for (record_id,) in rows]


def records_to_take_out(connection: Connection, most: int, *, writer: int) -> pl.DataFrame | None:
    """Return the statements that withdraw records which their province does not share, for the fold (STAGED), each in a
    new epoch; None if there are none. `writer` is the number of WRITER in history."""
    rows = connection.cursor(row_factory=dict_row).execute(sql("exchange/sets/extra"), {"most": most}).fetchall()
    if not rows:
        return None
    empty = dict.fromkeys(("disputed_since", "penalty", "listing", "registration"))
    bodies = [
        encode_own(
            _STATEMENT,
            {
                **{
                    name: row[name]
                    for name in ("kind", "province", "domain", "department", "authority", "stated_at", "version")
                },
                **empty,
                "record_id": row["record_id"].hex,
                "subject": {"uscc": row["uscc"], "name": row["subject_name"], "kind": row["subject_kind"]},
                "status": WITHDRAWN,
                "reason": WITHDRAWN,
            },
        )
        for row in rows
    ]
    frame = decode_statements(WRITER, bodies, range(len(bodies))).frame
    high, low = digests(bodies)
    now = datetime.now(UTC)
    return frame.with_columns(
        high,
        low,
        pl.Series("statement", bodies, dtype=pl.Binary),
        pl.Series("accepted_partition", [row["partition"] for row in rows], dtype=pl.Int16),
        # It has no place in the log: a rebuild from there finds the record erased, or requests the set again.
        pl.lit(-1, dtype=pl.Int64).alias("accepted_offset"),
        pl.lit(writer, dtype=pl.Int16).alias("writer"),
        pl.lit(now).cast(pl.Datetime("ms", "UTC")).alias("known_at"),
        pl.lit(None, dtype=pl.Datetime("ms", "UTC")).alias("received_at"),
        pl.Series("epoch", [row["epoch"] + 1 for row in rows], dtype=pl.Int64),
    )
