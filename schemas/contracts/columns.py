"""Batches of messages as columns: one Avro block for each writer schema, read by polars in one pass.

A block has no boundaries of its own between records, so two damaged bodies can read as two good rows. Each body is
therefore followed by a guard, 8 random bytes that no writer can know. A row with a damaged guard, and every unreadable
block, is split, down to single records read by fastavro, so that damage never reaches a neighbour.

Logical types are read as their physical types and converted here, since polars panics on dates out of range and cuts
decimals that are too long.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import fastavro
import numpy as np
import polars as pl
from polars import _dependencies

from schemas.contracts.avro import CONTRACTS, parsed
from schemas.contracts.canonical import Canonical
from schemas.contracts.codec import HEADER, NotDecodable, decode, unframe, varint
from schemas.contracts.fitness import unfit
from schemas.contracts.flat_frame import FLAT, STATEMENT_SHAPE, Shape, physical
from schemas.contracts.registry import WriterSchema

__all__ = ["FLAT", "Batch", "Decoded", "Undecodable", "Writers", "decode_batch", "decode_statements", "digests"]

# polars reports a damaged block by a panic. With backtraces each panic takes a second, and a sender of damaged messages
# could hold up intake.
os.environ["RUST_BACKTRACE"] = "0"

# If polars was imported before numpy, it has a stand-in that loads numpy on first use, and that breaks if two threads
# use it first at the same moment. This is the first use.
_dependencies.numpy.ndarray  # noqa: B018

STATEMENT = "xinliu.Statement"

_SYNC = b"xinliu-block-end"
_GUARD = 8
_ONE_BY_ONE = 32
"""Block size from which an unreadable block is no longer halved: fastavro finds the damaged records."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """An undecodable message of the batch: its place, the code of the rule, and the fault."""

    row: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Statements as a flat frame, sorted by row, and the messages that could not be read."""

    frame: pl.DataFrame
    undecodable: tuple[Undecodable, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch: statements (FLAT, sorted by row), other records (row, name, value), and the undecodable."""

    statements: pl.DataFrame
    others: tuple[tuple[int, str, dict[str, Any]], ...]
    undecodable: tuple[Undecodable, ...]


class Writers(Protocol):
    """Source of writers' schemas: a Registry, or a stricter one."""

    def believed(self, schema_id: int, named: bytes | None, askers: Callable[[], Collection[str]], /) -> WriterSchema:
        """Return the writer's schema of an id for messages of `askers` with header `named`. Raises NotDecodable."""


def decode_batch(
    writers: Writers,
    values: Sequence[bytes | None],
    *,
    named: Sequence[bytes | None],
    expected: Collection[str],
    max_bytes: int | None = None,
    source_of: Callable[[int], str] = lambda _row: "",
) -> Batch:
    """Decode messages (header and body) of any mix of writer schemas; rows are their places in `values`.

    `named` is the header SCHEMA of each. `expected` are the full names of the allowed records; any other is
    UNEXPECTED_RECORD. `source_of` returns the sender of a row's message: each sender has a budget of its own for
    look-ups of unknown ids. Never raises for the content of a message; raises Retryable if the registry does not
    answer.
    """
    bad: list[Undecodable] = []
    frames: list[pl.DataFrame] = []
    others: list[tuple[int, str, dict[str, Any]]] = []
    for (schema_id, name), (rows, bodies) in _by_writer(values, named, bad, max_bytes).items():
        try:
            writer = writers.believed(schema_id, name, partial(_sources, source_of, rows))
        except NotDecodable as error:
            bad.extend(Undecodable(row, error.code, str(error)) for row in rows)
            continue
        if writer.name not in expected:
            bad.extend(
                Undecodable(row, "UNEXPECTED_RECORD", f"a {writer.name or 'schema without name'}") for row in rows
            )
        elif writer.name == STATEMENT:
            decoded = decode_statements(writer, bodies, rows)
            frames.append(decoded.frame)
            bad.extend(decoded.undecodable)
        else:
            others.extend(_single(writer, rows, bodies, bad))
    statements = _joined(frames, STATEMENT_SHAPE.empty)
    return Batch(statements, tuple(sorted(others, key=lambda other: other[0])), tuple(sorted(bad, key=lambda u: u.row)))


def _sources(source_of: Callable[[int], str], rows: Sequence[int]) -> set[str]:
    return {source_of(row) for row in rows}


def _by_writer(
    values: Sequence[bytes | None], named: Sequence[bytes | None], bad: list[Undecodable], max_bytes: int | None
) -> dict[tuple[int, bytes | None], tuple[Sequence[int], Sequence[bytes]]]:
    """Group messages by their schema id and named schema: rows and bodies; messages without an id go to `bad`."""
    prefixes = {value[:HEADER] if value else b"" for value in values}
    names = set(named)
    if len(prefixes) == 1 and len(names) == 1:
        (prefix,), (name,) = prefixes, names
        whole = [value for value in values if value]  # all or none
        if len(prefix) == HEADER and prefix[0] == 0 and (max_bytes is None or max(map(len, whole)) <= max_bytes):
            return {(int.from_bytes(prefix[1:], "big"), name): (range(len(whole)), [value[HEADER:] for value in whole])}
    parted: defaultdict[tuple[int, bytes | None], tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
    for row, value in enumerate(values):
        if not value:
            bad.append(Undecodable(row, "EMPTY_VALUE", "the message has no value"))
        elif max_bytes is not None and len(value) > max_bytes:
            bad.append(Undecodable(row, "TOO_LARGE", f"{len(value)} bytes, at most {max_bytes} are taken"))
        else:
            try:
                schema_id, body = unframe(value)
            except NotDecodable as error:
                bad.append(Undecodable(row, error.code, str(error)))
                continue
            rows, bodies = parted[schema_id, named[row]]
            rows.append(row)
            bodies.append(body)
    return dict(parted)


def _single(
    writer: WriterSchema, rows: Sequence[int], bodies: Sequence[bytes], bad: list[Undecodable]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    ours = writer.name in CONTRACTS
    if why := unfit(writer.name, writer.text) if ours else "":
        bad.extend(Undecodable(row, "UNEXPECTED_RECORD", why) for row in rows)
        return
    for row, body in zip(rows, bodies, strict=True):
        try:
            yield row, writer.name, decode(writer.parsed, body, parsed(writer.name) if ours else None)
        except NotDecodable as error:
            bad.append(Undecodable(row, error.code, str(error)))


def decode_statements(
    writer: WriterSchema, bodies: Sequence[bytes], rows: Sequence[int], shape: Shape = STATEMENT_SHAPE
) -> Decoded:
    """Decode bodies of one writer schema into `shape`; `rows` are their numbers in the frame.

    If a reader of our contract must not read the writer schema, all of them are UNEXPECTED_RECORD.
    """
    empty = shape.empty
    if not bodies:
        return Decoded(empty, ())
    if why := unfit(STATEMENT, writer.text):
        return Decoded(empty, tuple(Undecodable(row, "UNEXPECTED_RECORD", why) for row in rows))
    block = _block(writer.text)
    if block.unfit:
        return Decoded(empty, tuple(Undecodable(row, "UNEXPECTED_RECORD", block.unfit) for row in rows))
    bad: list[Undecodable] = []
    frame = _joined(list(_Reading(block, shape, bad).frames(bodies, rows)), empty)
    return Decoded(frame, tuple(sorted(bad, key=lambda u: u.row)))


def _joined(frames: Sequence[pl.DataFrame], empty: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of all frames, each of which is sorted, sorted by row."""
    if len(frames) < 2:
        return frames[0] if frames else empty
    return pl.concat(frames).sort("row")


def digests(bodies: Sequence[bytes]) -> tuple[pl.Series, pl.Series]:
    """Return the digests (schemas.records.identity.digest) of many bodies as two Int64 series."""
    blake = hashlib.blake2b
    joined = b"".join([blake(body, digest_size=16).digest() for body in bodies])
    halves = np.frombuffer(joined, dtype=">i8").astype(np.int64).reshape(-1, 2)
    return pl.Series("digest_hi", halves[:, 0]), pl.Series("digest_lo", halves[:, 1])


class _Block:
    """The bodies of one writer schema, joined into an object container file and read at once."""

    def __init__(self, schema: Any) -> None:
        self.plain = physical(schema)
        self.parsed = fastavro.parse_schema(physical(schema))
        guarded = {
            "type": "record",
            "name": "xinliu_guard.Guarded",
            "fields": [
                {"name": "value", "type": self.plain},
                {"name": "guard", "type": {"type": "fixed", "name": "xinliu_guard.Guard", "size": _GUARD}},
            ],
        }
        head = io.BytesIO()
        fastavro.writer(head, fastavro.parse_schema(guarded), [], sync_marker=_SYNC)
        self._head = head.getvalue()
        empty = self.read([])
        self.unfit = "" if empty is not None else "no column can be made of one of its types"
        """Why no body of this schema can be read; empty if they can."""
        self.canonical = None if empty is None else Canonical(self.plain, empty)

    def read(self, bodies: Sequence[bytes]) -> pl.DataFrame | None:
        """Return the bodies' rows, or None if any of them, or a boundary between them, is damaged."""
        guard = os.urandom(_GUARD)
        glued = guard.join(bodies) + guard
        block = b"".join((self._head, varint(len(bodies)), varint(len(glued)), glued, _SYNC))
        try:
            read = pl.read_avro(io.BytesIO(block))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  # polars panics are BaseException; the caller reads it another way
            return None
        if read.height != len(bodies) or not read.select((pl.col("guard") == pl.lit(guard)).all()).item():
            return None
        return read["value"].struct.unnest()


@lru_cache(maxsize=64)
def _block(schema: str) -> _Block:
    return _Block(json.loads(schema))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of bodies: splits what cannot be read whole, and collects the unreadable ones."""

    block: _Block
    shape: Shape
    bad: list[Undecodable]

    def frames(self, bodies: Sequence[bytes], rows: Sequence[int]) -> Iterator[pl.DataFrame]:
        read = self.block.read(bodies)
        if read is not None:
            yield self._flat(read, bodies, rows)
        elif len(bodies) > _ONE_BY_ONE:
            half = len(bodies) // 2
            yield from self.frames(bodies[:half], rows[:half])
            yield from self.frames(bodies[half:], rows[half:])
        else:
            yield from self._few(bodies, rows)

    def _few(self, bodies: Sequence[bytes], rows: Sequence[int]) -> Iterator[pl.DataFrame]:
        whole = []
        for place, body in enumerate(bodies):
            try:
                decode(self.block.parsed, body)
            except NotDecodable as error:
                self.bad.append(Undecodable(rows[place], error.code, str(error)))
            else:
                whole.append(place)
        together = self.block.read([bodies[place] for place in whole]) if len(whole) > 1 else None
        if together is not None:
            yield self._flat(together, [bodies[place] for place in whole], [rows[place] for place in whole])
            return
        for place in whole:
            alone = self.block.read([bodies[place]])
            if alone is None:
                self.bad.append(Undecodable(rows[place], "DAMAGED", "the record cannot be read as columns"))
            else:
                yield self._flat(alone, [bodies[place]], [rows[place]])

    def _flat(self, read: pl.DataFrame, bodies: Sequence[bytes], rows: Sequence[int]) -> pl.DataFrame:
        assert self.block.canonical is not None  # an unfit schema is never read
        whole = self.block.canonical(read, bodies)
        if not whole.all():
            self.bad.extend(
                Undecodable(rows[place], "DAMAGED", "a union index or a number is written as no Avro writer writes it")
                for place in np.flatnonzero(~whole).tolist()
            )
            read = read.filter(pl.Series(whole))
            rows = [rows[place] for place in np.flatnonzero(whole).tolist()]
        frame, spoiled = self.shape.flatten(read, rows)
        self.bad.extend(Undecodable(row, code, message) for row, code, message in spoiled)
        return frame
