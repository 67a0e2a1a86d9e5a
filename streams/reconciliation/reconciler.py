"""Reconciliation (对账): compares the records that departments state in manifests with the view, and names differences.

It runs in a thread of its own beside the view worker: one comparison reads all of a department's records. It compares
once every watermark of the department's topic has passed the manifest, so that records on their way are no difference,
and it ignores records that became known after it. The findings and the answer to the department are one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import polars as pl
import structlog
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.reconciliation.manifest import LINES, ManifestScope, bucket_range, differing, total
from schemas.store.binary_copy import copy_rows
from schemas.store.sql_files import sql
from streams.projection.serving import while_serving
from streams.reconciliation.manifests import NAME, announce, answer
from streams.runtime.service import Connection, Service

__all__ = ["Reconciler"]

log = structlog.get_logger()

_NAMED_A_RECEIPT = 500
_MOST_NAMED = 20_000
"""Records that the department does not state, named by one answer; the answer counts the rest."""
_STATED = ("record_id", "version", "digest_hi", "digest_lo")


class Reconciler(Service):
    """Compares manifests, one per transaction. Several may run: each locks the manifest that it compares.

    `on_commit` is called when there is an answer to publish.
    """

    waits = "reconciliation.waits"

    def __init__(
        self,
        database: str,
        *,
        province: str,
        generation: int,
        on_commit: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(database, generation=generation)
        self._province = province
        self._generation = generation
        self._on_commit = on_commit
        self._now = now

    def _round(self) -> float:
        self._await_news(0.1)
        while not self._stopped.is_set() and self._compare_next():
            self._on_commit()
        return 0.0

    def _compare_next(self) -> bool:
        with while_serving(self._connected(), self._generation) as ours:
            return ours and self.compare_one()

    def compare_one(self) -> bool:
        """Compare one manifest or one part of lines; false if none is due.

        Raises psycopg.OperationalError or Retryable if PostgreSQL does not answer, or asks to try again.
        """
        connection = self._connected()
        with connection.transaction():
            # One snapshot: it holds every record up to the watermarks.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor = connection.cursor(row_factory=dict_row)
            if (due := cursor.execute(sql("reconciliation/due")).fetchone()) is not None:
                self._compare(connection, due)
                return True
            if (lines := cursor.execute(sql("reconciliation/arrived")).fetchone()) is not None:
                self._name(connection, lines)
                return True
        return False

    def _set_up(self, connection: Connection) -> None:
        connection.execute(sql("reconciliation/stage"))

    def _compare(self, connection: Connection, due: Mapping[str, Any]) -> None:
        manifest = decode(parsed(NAME), due["body"])
        now = self._now()
        key = _key(manifest)
        about = {"province": self._province, "bits": manifest["bits"]}
        held = connection.execute(sql("reconciliation/held"), {**key, **_bounds(manifest), **about})
        periods, buckets, outside = _sums(held)
        wanted = differing(manifest["buckets"], buckets, "bucket")
        count, high, low = total(buckets)
        values = {**key, "now": now, "state": "DIFFERS" if wanted else "EQUAL", "held": count, "outside": outside}
        values |= {"held_hi": high, "held_lo": low, "wanted": wanted, "received_at": due["received_at"]}
        superseded = connection.execute(sql("reconciliation/compared"), values).fetchall()
        equal = sorted(set(range(1 << manifest["bits"])) - set(wanted))
        _close(connection, manifest, _ranges(equal, manifest["bits"]), (), now)
        for (other,) in superseded:
            message = "another manifest of the same records has taken its place"
            reply = answer({**manifest, "manifest_id": other}, "REFUSED", now, message=message)
            announce(connection, key["department"], reply)
        reply = answer(
            manifest,
            values["state"],
            now,
            held=count,
            outside=outside,
            periods=_differing_periods(manifest["periods"], periods),
            buckets=wanted,
        )
        announce(connection, key["department"], reply)
        log.info(
            "reconciliation.compared", **key, state=values["state"], stated=total(manifest["buckets"])[0], held=count
        )

    def _name(self, connection: Connection, lines: Mapping[str, Any]) -> None:
        now, key = self._now(), _key(lines)
        manifest = decode(parsed(NAME), lines["body"])
        connection.execute(
            "DELETE FROM manifest_lines WHERE department = %(department)s AND domain = %(domain)s AND kind = %(kind)s"
            " AND manifest_id = %(manifest_id)s AND part = %(part)s",
            lines,
        )
        if not lines["newest"] or lines["state"] not in ("EQUAL", "DIFFERS") or lines["bits"] != manifest["bits"]:
            message = "these lines belong to no manifest that was compared, or another has taken its place"
            announce(connection, key["department"], answer(manifest, "REFUSED", now, message=message))
            return
        buckets = [row["bucket"] for row in manifest["buckets"]]
        found, unnamed = self._differences(connection, lines, manifest, buckets)
        rows = Jsonb([{**row, "record_id": str(row["record_id"])} for row in found])
        values = {**key, "first_period": lines["first_period"], "last_period": lines["last_period"], "now": now}
        connection.execute(sql("reconciliation/opened"), {**values, "rows": rows})
        if not unnamed:  # an open difference may be one of the unnamed ones
            _close(connection, values, _ranges(buckets, lines["bits"]), [row["record_id"] for row in found], now)
        wanted = sorted(set(lines["wanted"]) - set(buckets))
        connection.execute(sql("reconciliation/narrowed"), {**key, "wanted": wanted})
        known = {"held": lines["held"], "outside": lines["outside"], "buckets": wanted, "unnamed": unnamed}
        state = "DIFFERS" if found else "EQUAL"
        for start in range(0, max(1, len(found)), _NAMED_A_RECEIPT):
            portion = _named(found[start : start + _NAMED_A_RECEIPT])
            complete = start + _NAMED_A_RECEIPT >= len(found)
            announced = answer(manifest, state, now, **known, differences=portion, complete=complete)
            announce(connection, key["department"], announced)

    def _differences(
        self, connection: Connection, lines: Mapping[str, Any], manifest: Mapping[str, Any], buckets: Sequence[int]
    ) -> tuple[list[dict[str, Any]], int]:
        frame = pl.DataFrame(manifest["lines"], schema={name: LINES[name] for name in _STATED})
        copy_rows(connection, "stated", frame.with_columns(pl.col("record_id").str.decode("hex")), _STATED)
        values = {
            **_key(lines),
            **_bounds(lines),
            "cutoff": lines["cutoff"],
            "most": _MOST_NAMED,
            "province": self._province,
        }
        cursor = connection.cursor(row_factory=dict_row)
        found = cursor.execute(sql("reconciliation/stated"), values).fetchall()
        extra = connection.execute(
            sql("reconciliation/unstated"), {**values, **_ranges(buckets, lines["bits"])}
        ).fetchall()
        for record_id, version, _ in extra:
            row = {"difference": "UNKNOWN", "stated_version": None, "held_version": version, "reasons": []}
            found.append({"record_id": record_id, **row})
        return found, extra[0][2] - len(extra) if extra else 0


def _named(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = ("difference", "held_version", "reasons")
    return [{"record_id": row["record_id"].hex, **{name: row[name] for name in names}} for row in found]


def _close(
    connection: Connection, scope: Mapping[str, Any], ranges: Mapping[str, Any], named: Sequence[UUID], now: datetime
) -> None:
    values = {name: scope[name] for name in ("department", "domain", "kind", "first_period", "last_period")}
    connection.execute(sql("reconciliation/closed"), {**values, **ranges, "named": list(named), "now": now})


def _sums(rows: Iterable[tuple[Any, ...]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    periods, buckets, outside = list[dict[str, Any]](), list[dict[str, Any]](), 0
    for by_period, period, bucket, count, high, low in rows:
        sums = {"count": count, "digest_hi": high, "digest_lo": low}
        if by_period and period is None:
            outside = count
        elif by_period:
            periods.append({"period": period, **sums})
        elif bucket is not None:
            buckets.append({"bucket": bucket, **sums})
    return periods, buckets, outside


def _differing_periods(stated: Sequence[Mapping[str, Any]], held: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    there, here = ({row["period"]: row["count"] for row in rows} for rows in (stated, held))
    return [
        {"period": period, "stated": there.get(period, 0), "held": here.get(period, 0)}
        for period in differing(stated, held, "period")
    ]


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("department", "domain", "kind", "manifest_id")}


def _bounds(row: Mapping[str, Any]) -> dict[str, datetime | None]:
    begin, before = ManifestScope(row["domain"], row["kind"], row["first_period"], row["last_period"]).bounds()
    return {"from": begin, "before": before}


def _ranges(buckets: Sequence[int], bits: int) -> dict[str, list[str]]:
    ranges = [bucket_range(bucket, bits) for bucket in buckets]
    return {"lows": [low for low, _ in ranges], "highs": [high for _, high in ranges]}
