"""Manifests (对账清单): a department's published records as counts and digests that both sides can compute.

A set of records is summed up twice: by month, which people read, and by bucket, which narrows a difference without
sending every id. The period of a record is the month, in China's time, of `stated_at` of its newest statement. Every
statement has it, also one without a body, and both sides read it from the same bytes. A change moves a record to the
month of the change. If one side lacks the change, lines are matched by record_id, whatever the month, so that the
record is named once, as another version.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from schemas.calendar.clock import CHINA

__all__ = [
    "KINDS",
    "LINES",
    "MOST_LINES",
    "PERIOD",
    "ManifestScope",
    "belongs",
    "bits_for",
    "bucket_range",
    "differing",
    "lines_parts",
    "manifest_fault",
    "newest",
    "summary",
    "total",
    "within",
]


LINES = pl.Schema(
    {
        "record_id": pl.String(),
        "version": pl.Int64(),
        "digest_hi": pl.Int64(),
        "digest_lo": pl.Int64(),
        "stated_at": pl.Datetime("ms", "UTC"),
    }
)
"""A department's records for one manifest: all statements of each record, or its newest alone."""

KINDS = ("PENALTY", "LISTING", "REGISTRATION")
MOST_BITS = 12
MOST_LINES = 12_000
"""Maximum number of lines of one part: about 750 kB, below the message limit of a broker and of intake."""
_A_BUCKET = 64
"""Approximate number of records of a bucket: one differing bucket costs that many lines."""
_MOST_PERIODS, _MOST_RECORDS = 1_200, 10**10
_RANK = ("version", "digest_hi", "digest_lo")
PERIOD = re.compile(r"[12]\d{3}-(0[1-9]|1[0-2])")
_ID = re.compile(r"[0-9a-f]{32}")
_COUNTS = ("count", "digest_hi", "digest_lo")
_TEXTS = {"period", "record_id"}


@dataclass(frozen=True, slots=True)
class ManifestScope:
    """The scope of a manifest: one kind of record in one domain, and the months from `first` to `last`, both included.

    None: without bound.
    """

    domain: str
    kind: str
    first: str | None = None
    last: str | None = None

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Return the lower (included) and upper bound (excluded) of `stated_at` of the newest statements in scope."""
        return _begin(self.first) if self.first else None, _begin(_after(self.last)) if self.last else None


def newest(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the newest statement of each record (LINES), by the rank of the view's fold, with its `period`."""
    period = pl.col("stated_at").dt.convert_time_zone("Asia/Shanghai").dt.strftime("%Y-%m")
    return (
        lines.sort(["record_id", *_RANK], descending=[False, True, True, True])
        .unique("record_id", keep="first", maintain_order=True)
        .with_columns(period=period)
    )


def within(records: pl.DataFrame, scope: ManifestScope) -> pl.DataFrame:
    """Return the records, as `newest` returns them, whose period is in scope."""
    period = pl.col("period")
    return records.filter(
        pl.lit(True) if scope.first is None else period >= scope.first,
        pl.lit(True) if scope.last is None else period <= scope.last,
    )


def belongs(manifest: Mapping[str, Any], domains: Collection[str]) -> bool:
    """Return whether the department of these domains may make such a manifest."""
    domain, kind = manifest["domain"], manifest["kind"]
    return kind in KINDS and (domain in domains or (kind, domain) == ("REGISTRATION", "registration"))


def bits_for(records: int) -> int:
    """Return how many bits of record_id divide so many records into buckets of about 64."""
    return min(MOST_BITS, max(0, (records // _A_BUCKET).bit_length()))


def summary(records: pl.DataFrame, department: str, scope: ManifestScope, *, made_at: datetime) -> dict[str, Any]:
    """Return part 0 of a manifest of these records, as `newest` returns them; records out of scope are left out."""
    chosen = within(records, scope)
    bits = bits_for(chosen.height)
    return {
        "department": department,
        "manifest_id": uuid.uuid4().hex,
        "part": 0,
        "domain": scope.domain,
        "kind": scope.kind,
        "made_at": made_at,
        "first_period": scope.first,
        "last_period": scope.last,
        "bits": bits,
        "periods": _summed(chosen, pl.col("period")),
        "buckets": _summed(chosen, _bucket(bits)),
        "lines": [],
    }


def differing(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Return the keys (period or bucket) whose count or digest differs between the two sides, sorted."""
    mine, theirs = ({row[key]: tuple(row[name] for name in _COUNTS) for row in rows} for rows in (one, other))
    empty = (0, 0, 0)
    return sorted(k for k in mine.keys() | theirs.keys() if mine.get(k, empty) != theirs.get(k, empty))


def lines_parts(
    records: pl.DataFrame, manifest: Mapping[str, Any], buckets: Sequence[int], *, most: int = MOST_LINES
) -> Iterator[dict[str, Any]]:
    """Yield the parts with the lines of these buckets, of the records that part 0, `manifest`, summed up.

    Each part holds whole buckets, so that each can be compared alone. Raises ValueError if one bucket alone has more
    than `most` lines.
    """
    scope = ManifestScope(manifest["domain"], manifest["kind"], manifest["first_period"], manifest["last_period"])
    chosen = within(records, scope).with_columns(bucket=_bucket(manifest["bits"]))
    by_bucket = chosen.filter(pl.col("bucket").is_in(list(buckets))).partition_by("bucket", as_dict=True)
    empty = chosen.clear()
    part, taken, count = 1, list[tuple[int, pl.DataFrame]](), 0
    for bucket in sorted(buckets):
        found = by_bucket.get((bucket,), empty)
        if found.height > most:
            raise ValueError(f"bucket {bucket} has {found.height} records, at most {most} are compared by name")
        if count + found.height > most:
            yield _lines(manifest, part, taken)
            part, taken, count = part + 1, [], 0
        taken.append((bucket, found))
        count += found.height
    if taken:
        yield _lines(manifest, part, taken)


def manifest_fault(manifest: Mapping[str, Any]) -> str | None:
    """Return why a manifest cannot be compared, or None. The input is untrusted: its writer may put in anything."""
    return next(_faults(manifest), None)


def _faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    # Each check relies on the ones before it.
    first, last, bits = manifest["first_period"] or "", manifest["last_period"] or "9999-12", manifest["bits"]
    periods, buckets, lines = manifest["periods"], manifest["buckets"], manifest["lines"]
    numbers = (row[name] for row in (*periods, *buckets, *lines) for name in row.keys() - _TEXTS)
    if not _ID.fullmatch(manifest["manifest_id"]) or manifest["kind"] not in KINDS:
        yield "manifest_id is not 32 hexadecimal digits, or kind none of PENALTY, LISTING, REGISTRATION"
    if not 0 <= bits <= MOST_BITS or not 0 <= manifest["part"] <= 1 << MOST_BITS:
        yield "bits or part out of range"
    if len(periods) > _MOST_PERIODS or len(lines) > MOST_LINES:
        yield f"more than {_MOST_PERIODS} periods or {MOST_LINES} lines"
    if not all(-(1 << 63) <= number < 1 << 63 for number in numbers):
        yield "a number of more than 64 bits"
    named = [period["period"] for period in periods] + [
        end for end in (manifest["first_period"], manifest["last_period"]) if end is not None
    ]
    if not all(map(PERIOD.fullmatch, named)) or first > last:
        yield "a period is not written 2025-09, or the last lies before the first"
    if not all(first <= period["period"] <= last for period in periods):
        yield "it sums up a month that it does not speak of"
    if _twice(periods, "period") or _twice(buckets, "bucket"):
        yield "a period or bucket twice"
    if not all(0 <= row["bucket"] < 1 << bits for row in buckets):
        yield "a bucket that its bits do not make"
    if not all(0 <= row["count"] <= _MOST_RECORDS for row in (*periods, *buckets)):
        yield f"a count below 0 or above {_MOST_RECORDS:,}"
    yield from _line_faults(manifest) if manifest["part"] else _sum_faults(manifest)


def bucket_range(bucket: int, bits: int) -> tuple[str, str]:
    """Return the first and the last record_id of a bucket, as uuid: leading bits make a range of the primary key."""
    low = bucket << (128 - bits)
    return str(uuid.UUID(int=low)), str(uuid.UUID(int=low + (1 << (128 - bits)) - 1))


def _sum_faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest["lines"]:
        yield "lines in part 0"
    # Two sums of one set: if they differ, the set was not summed up whole.
    if total(manifest["periods"]) != total(manifest["buckets"]):
        yield "its periods and its buckets do not sum up the same records"


def _line_faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    lines, named = manifest["lines"], {row["bucket"]: row for row in manifest["buckets"]}
    if not all(_ID.fullmatch(line["record_id"]) for line in lines) or _twice(lines, "record_id"):
        yield "a record_id that is not 32 hexadecimal digits, or twice"
    frame = pl.DataFrame(lines, schema={name: LINES[name] for name in ("record_id", *_RANK)})
    found = {row["bucket"]: row for row in _summed(frame, _bucket(manifest["bits"]))}
    if found.keys() - named.keys():
        yield "lines of a bucket that it does not name"
    empty = dict.fromkeys(_COUNTS, 0)
    if any(row[name] != found.get(bucket, empty)[name] for bucket, row in named.items() for name in _COUNTS):
        yield "the lines of a bucket do not sum up to what it states"


def _lines(manifest: Mapping[str, Any], part: int, taken: Sequence[tuple[int, pl.DataFrame]]) -> dict[str, Any]:
    records = pl.concat([frame for _, frame in taken])
    buckets = [
        {
            "bucket": bucket,
            "count": frame.height,
            "digest_hi": frame["digest_hi"].bitwise_xor() or 0 if frame.height else 0,
            "digest_lo": frame["digest_lo"].bitwise_xor() or 0 if frame.height else 0,
        }
        for bucket, frame in taken
    ]
    lines = records.select("record_id", *_RANK).to_dicts()
    return {**manifest, "part": part, "periods": [], "buckets": buckets, "lines": lines}


def _bucket(bits: int) -> pl.Expr:
    leading = pl.col("record_id").str.slice(0, MOST_BITS // 4).str.to_integer(base=16, dtype=pl.Int64)
    return (leading // (1 << (MOST_BITS - bits))).alias("bucket")


def _summed(records: pl.DataFrame, key: pl.Expr) -> list[dict[str, Any]]:
    digests = [pl.col(name).bitwise_xor() for name in ("digest_hi", "digest_lo")]
    return records.group_by(key).agg(pl.len().cast(pl.Int64).alias("count"), *digests).sort(pl.first()).to_dicts()


def total(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Return count and set digest of all periods, or all buckets, together."""
    count = high = low = 0
    for row in rows:
        count, high, low = count + row["count"], high ^ row["digest_hi"], low ^ row["digest_lo"]
    return count, high, low


def _twice(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({row[key] for row in rows}) < len(rows)


def _begin(period: str) -> datetime:
    return datetime(int(period[:4]), int(period[5:]), 1, tzinfo=CHINA)


def _after(period: str) -> str:
    first = date(int(period[:4]), int(period[5:]), 1)
    return f"{first.year + first.month // 12:04}-{first.month % 12 + 1:02}"
