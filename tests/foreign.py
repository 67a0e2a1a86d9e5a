"""Records, checkpoints and pending entries of other provinces, put into a province's tables as the exchange would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg
from psycopg.types.json import Jsonb

from streams.projection.batch import Projection, StoreFinding
from streams.projection.staging import staged
from tests.statements import Statement
from tests.viewstore import WRITER, decoded

__all__ = ["AS_OF", "checkpoint", "fold", "foreign", "refuse", "swept", "vouch", "wait_elsewhere"]

Store = psycopg.Connection[Any]
AS_OF = datetime(2026, 3, 1, 4, tzinfo=UTC)


def foreign(statement: Statement, province: str) -> Statement:
    """Return a statement as a department of another province would have made it, with a record id of its own."""
    other = (int(statement["record_id"], 16) ^ sum(province.encode())).to_bytes(16, "big").hex()
    return {**statement, "province": province, "record_id": other}


def fold(store: Store, statements: Sequence[Statement], *, first_offset: int = 0) -> tuple[StoreFinding, ...]:
    """Fold statements into the generation on the search_path; those of other provinces in an epoch, as they come.
    Return what was found."""
    projection = Projection(store)
    writer = projection.writer_number(WRITER.fingerprint, WRITER.schema)
    frame = decoded(list(statements), first_offset).with_columns(
        epoch=pl.when(pl.col("province") == "beijing").then(0).otherwise(7).cast(pl.Int64),
        writer=pl.lit(writer, dtype=pl.Int16),
    )
    findings = projection.fold(staged(frame)[0]).findings
    for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"):
        store.execute(f"RESET {setting}")
    return tuple(findings)


def checkpoint(
    store: Store,
    province: str,
    domains: Sequence[str] | None = None,
    *,
    partition: int = 0,
    sequence: int = 1,
    data_as_of: datetime | None = AS_OF,
    made_at: datetime | None = None,
    held: int = 0,
) -> None:
    """Apply a complete checkpoint: of every mutual domain, unless told otherwise; `held` differs where it is not 0."""
    made = made_at or datetime.now(UTC)
    chosen = domains
    if chosen is None:
        chosen = [*(d for (d,) in store.execute("SELECT DISTINCT domain FROM xinliu.mutual_domain")), "registration"]
    store.execute(
        "INSERT INTO applied_checkpoint VALUES (%s, %s, 't', %s, 0, '', %s, %s, true)"
        " ON CONFLICT (province, partition) DO UPDATE SET sequence = excluded.sequence, made_at = excluded.made_at,"
        " applied_at = excluded.applied_at",
        (province, partition, sequence, made, made),
    )
    for domain in chosen:
        store.execute(
            "INSERT INTO foreign_domain (province, partition, domain, sequence, records, digest_hi, digest_lo,"
            " held_records, held_hi, held_lo, data_as_of, made_at, checked_at)"
            " VALUES (%s, %s, %s, %s, 0, 0, 0, %s, 0, 0, %s, %s, %s) ON CONFLICT (province, partition, domain) DO UPDATE"
            " SET sequence = excluded.sequence, held_records = excluded.held_records,"
            " data_as_of = excluded.data_as_of, made_at = excluded.made_at, checked_at = excluded.checked_at",
            (province, partition, domain, sequence, held, data_as_of, made, made),
        )


def vouch(store: Store, as_of: datetime, departments: Sequence[str] | None = None) -> None:
    """Let own sources vouch up to a time: all of them, unless told otherwise."""
    rows = store.execute("SELECT DISTINCT department FROM xinliu.domain_source").fetchall()
    for (department,) in rows:
        if departments is not None and department not in departments:
            continue
        topic = f"records.{department}"
        store.execute(
            "INSERT INTO source VALUES (%s, %s, %s, 1) ON CONFLICT (topic) DO UPDATE SET topic_id = excluded.topic_id, partitions = 1",
            (topic, "t", department),
        )
        store.execute(
            "INSERT INTO input_progress (topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at)"
            " SELECT %s, 't', 0, topic, partition, 1, %s, %s FROM position"
            " ON CONFLICT (topic, partition, reporter_topic, reporter_partition)"
            " DO UPDATE SET topic_id = 't', as_of = excluded.as_of, marked_at = excluded.marked_at",
            (topic, as_of, as_of),
        )


def refuse(store: Store, offset: int, uscc: str | None, *, topic: str = "records.tax", **known: Any) -> None:
    """Enter a refused record; of the tax department and its domain unless told otherwise."""
    row = {
        "topic": topic, "topic_id": "t", "partition": 0, "offset": offset, "department": topic.removeprefix("records."),
        "received_at": AS_OF, "uscc": uscc, "domain": "tax", "record_id": None, "version": None,
        "findings": json.dumps([]), "value": b"", "state": "OPEN", "quarantine_partition": 0, "quarantine_offset": offset,
        **known,
    }  # fmt: skip
    columns = ", ".join(f'"{name}"' for name in row)
    store.execute(f"INSERT INTO quarantine ({columns}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))


def wait_elsewhere(store: Store, province: str, uscc: str, **domains: int) -> None:
    """Let so many refused records of an entity wait in another province, by domain, as it says."""
    entries = [{"domain": d.replace("_", "-"), "department": "tax", "open": n, "since": 0} for d, n in domains.items()]
    store.execute("INSERT INTO foreign_pending VALUES (%s, 0, %s, 1, now(), %s)", (province, uscc, Jsonb(entries)))


def swept(store: Store, domains: Sequence[str] | None = None) -> None:
    """Let the sweep have gone through all records: for all mutual domains, unless told otherwise."""
    chosen = domains
    if chosen is None:
        chosen = [d for (d,) in store.execute("SELECT DISTINCT domain FROM xinliu.mutual_domain")]
    store.execute(
        "INSERT INTO xinliu.swept (generation, domains, swept_at) SELECT generation, %s, now() FROM xinliu.serving"
        " ON CONFLICT (singleton) DO UPDATE SET domains = excluded.domains",
        (list(chosen),),
    )
