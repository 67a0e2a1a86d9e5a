"""Paced publisher: writes events at a steady rate, with the time of each and its partition and offset.

`python -m benchmarks.publisher --kafka … --topic … --schema-id … --first N --rate R --seconds S --out FILE`. To
`accepted` it writes as intake would: the same keys, partitions and headers. Without a rate: `--count` events, at full
speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import polars as pl
from confluent_kafka import Message, Producer

from benchmarks.events import DEPARTMENT, Event, events
from schemas.contracts.avro import fingerprint, source
from schemas.records.partitioning import partitions_of
from streams.kafka.headers import ORIGIN, RECEIVED, SCHEMA, Origin

__all__ = ["as_intake"]

_TICK = 0.002
"""Seconds between bursts: 10 events at once at 5,000 a second."""


def as_intake(told: list[Event], partitions: int) -> Iterator[dict[str, Any]]:
    """Yield intake's messages to `accepted` for these events, as arguments of `Producer.produce`."""
    writer = fingerprint(source("xinliu.Statement")).encode()
    places = partitions_of(pl.Series([event.key.decode() for event in told]), partitions).tolist()
    for number, (event, place) in enumerate(zip(told, places, strict=True)):
        origin = Origin(f"records.{DEPARTMENT}", "benchmark", 0, number)
        digest = hashlib.blake2b(event.value[5:], digest_size=16).hexdigest()
        headers = [(ORIGIN, origin.to_bytes()), (SCHEMA, writer), (RECEIVED, b"%d" % (time() * 1000))]
        yield {"value": event.value, "key": f"{number}|1|{digest}".encode(), "partition": place, "headers": headers}


def _paced(producer: Producer, topic: str, messages: list[dict[str, Any]], rate: float) -> list[tuple[int, int, float]]:
    placed: list[tuple[int, int, float]] = []

    def delivered(error: Any, message: Message, handed: float) -> None:
        if error is not None:
            raise RuntimeError(str(error))
        placed.append((message.partition() or 0, message.offset() or 0, handed))

    begin = monotonic()
    for number, message in enumerate(messages):
        due = begin + int(number / rate / _TICK) * _TICK
        while (early := due - monotonic()) > 0:
            producer.poll(0)
            sleep(min(early, _TICK))
        handed = time()
        producer.produce(topic, **message, on_delivery=lambda e, m, at=handed: delivered(e, m, at))
    if producer.flush(60):
        raise RuntimeError("the broker did not take everything")
    return placed


def main() -> None:
    """Publish, and write partition, offset and time of each event as JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("--kafka", str), ("--topic", str), ("--schema-id", int)):
        asked.add_argument(name, type=kind, required=True)
    asked.add_argument("--first", type=int, default=0)
    asked.add_argument("--count", type=int, default=0)
    asked.add_argument("--rate", type=float, default=0.0)
    asked.add_argument("--seconds", type=float, default=0.0)
    asked.add_argument("--partitions", type=int, default=4, help="of accepted")
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    settings = {"bootstrap.servers": options.kafka, "acks": "all", "enable.idempotence": True}
    settings |= {"partitioner": "murmur2_random", "compression.type": "lz4"}
    if not options.rate:
        producer = Producer(settings | {"linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
        for event in events(options.schema_id, options.count, first=options.first):
            while True:
                try:
                    producer.produce(options.topic, event.value, event.key)
                    break
                except BufferError:
                    producer.poll(0.1)
        if producer.flush(120):
            raise RuntimeError("the broker did not take everything")
        return
    told = list(events(options.schema_id, int(options.rate * options.seconds), first=options.first))
    if options.topic == "accepted":
        messages = list(as_intake(told, options.partitions))
    else:
        messages = [{"value": event.value, "key": event.key} for event in told]
    placed = _paced(Producer(settings | {"linger.ms": 1}), options.topic, messages, options.rate)
    options.out.write_text(json.dumps(placed))


if __name__ == "__main__":
    main()
