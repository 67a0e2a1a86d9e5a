"""The floors: the minimum work to get `accepted` into PostgreSQL, without a stream processor.

`python -m benchmarks.floors rows|columns --kafka … --database … --schema-id …` runs until it is stopped. A bare
confluent-kafka loop decodes one batch while a second thread writes the one before: row by row with fastavro, or in
columns (one Avro block, polars, binary COPY). It validates nothing, notifies nobody, and would end at a damaged record.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import fastavro
import polars as pl
from confluent_kafka import Consumer, TopicPartition

from benchmarks.rowwise import HISTORY, Message, RowWriter
from schemas.contracts.avro import source
from schemas.contracts.flat_frame import STATEMENT_SHAPE, physical
from schemas.store.binary_copy import copy_rows
from streams.projection.staging import content_keys

__all__ = ["main"]

_BATCH = 10_000
_SYNC = b"0" * 16


class Columns(RowWriter):
    """The column floor: a batch is one Avro block, read by polars."""

    def __init__(self, database: str, schema_id: int) -> None:
        super().__init__(database, schema_id)
        head = io.BytesIO()
        fastavro.writer(head, fastavro.parse_schema(physical(source("xinliu.Statement"))), [], sync_marker=_SYNC)
        self._head = head.getvalue()

    def prepare(self, messages: Sequence[Message]) -> tuple[Any, dict[int, int]]:
        """Decode and flatten a batch."""
        reached = {partition: offset + 1 for partition, offset, _, _ in messages}
        good = [message for message in messages if message[3] is not None and message[3][:5] == self._header]
        if not good:
            return None, reached
        bodies = [value[5:] for _, _, _, value in good]
        glued = b"".join(bodies)
        block = b"".join((self._head, _long(len(bodies)), _long(len(glued)), glued, _SYNC))
        frame, _ = STATEMENT_SHAPE.flatten(pl.read_avro(io.BytesIO(block)), range(len(bodies)))
        halves = [hashlib.blake2b(body, digest_size=16).digest() for body in bodies]
        known_at = pl.Series([received for _, _, received, _ in good], dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))
        frame = frame.with_columns(
            pl.Series("digest_hi", [int.from_bytes(d[:8], "big", signed=True) for d in halves], dtype=pl.Int64),
            pl.Series("digest_lo", [int.from_bytes(d[8:], "big", signed=True) for d in halves], dtype=pl.Int64),
            pl.Series("accepted_partition", [p for p, _, _, _ in good], dtype=pl.Int16),
            pl.Series("accepted_offset", [o for _, o, _, _ in good], dtype=pl.Int64),
            pl.lit(self._writer, dtype=pl.Int16).alias("writer"),
            pl.lit(0, dtype=pl.Int64).alias("epoch"),
            pl.Series("statement", bodies, dtype=pl.Binary),
            known_at.alias("known_at"),
            pl.col("record_id").str.decode("hex"),
        )
        return frame.with_columns(content_key=content_keys(frame)), reached

    def write(self, rows: Any, reached: dict[int, int]) -> None:
        """Write a batch in one transaction."""
        with self._connection.transaction():
            if rows is not None:
                newest = rows.sort("version", "digest_hi", "digest_lo").unique("record_id", keep="last")
                copy_rows(self._connection, "stage", newest.sort("record_id"), self.columns)
                self._connection.execute(self._fold)
                copy_rows(self._connection, "record_history", rows, HISTORY)
            self._move(reached)


def _long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, number)
    return out.getvalue()


def _loop(consumer: Consumer, writer: RowWriter, stopped: threading.Event) -> None:
    prepared: queue.Queue[Any] = queue.Queue(1)
    failures: list[BaseException] = []

    def write_all() -> None:
        try:
            while (batch := prepared.get()) is not None:
                writer.write(*batch)
        except BaseException as error:  # noqa: BLE001  # handed to the main thread, which ends with it
            failures.append(error)
            stopped.set()

    thread = threading.Thread(target=write_all)
    thread.start()
    try:
        while not stopped.is_set():
            # The messages available at once, without waiting for more: the running transaction sets the pace.
            first = consumer.poll(0.5)
            if first is None:
                continue
            messages = [first, *consumer.consume(_BATCH - 1, 0.0)]
            batch: list[Message] = [
                (m.partition() or 0, m.offset() or 0, m.timestamp()[1], m.value())
                for m in messages
                if m.error() is None
            ]
            prepared.put(writer.prepare(batch))
    finally:
        prepared.put(None)
        thread.join()
    if failures:
        raise failures[0]


_WRITERS: dict[str, Callable[[str, int], RowWriter]] = {"rows": RowWriter, "columns": Columns}


def main(words: Sequence[str] | None = None) -> None:
    """Run one floor until SIGTERM."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("floor", choices=sorted(_WRITERS))
    asked.add_argument("--kafka", required=True)
    asked.add_argument("--database", required=True)
    asked.add_argument("--schema-id", type=int, required=True)
    options = asked.parse_args(words)
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    writer = _WRITERS[options.floor](options.database, options.schema_id)
    consumer = Consumer(
        {
            "bootstrap.servers": options.kafka,
            "group.id": f"floor-{options.floor}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "queued.min.messages": 100_000,
            "fetch.wait.max.ms": 50,
        }
    )
    consumer.assign([TopicPartition("accepted", p, offset) for p, offset in writer.standing().items()])
    try:
        _loop(consumer, writer, stopped)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
