"""The floor of a link: only consume and produce, without any guarantee of a link.

`python -m benchmarks.bare_link --own … --far … --topic …`. No schema ids, no origin, no resuming, no errors; the
clients' settings are the link's.
"""

from __future__ import annotations

import argparse

from confluent_kafka import Consumer, Producer, TopicPartition

_PARTITIONS, _BATCH = 4, 2_000


def main() -> None:
    """Copy until killed."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name in ("--own", "--far", "--topic"):
        asked.add_argument(name, required=True)
    options = asked.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": options.own,
            "group.id": "bare",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 16_384,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": options.far,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 1,
            "queue.buffering.max.messages": 50_000,
            "queue.buffering.max.kbytes": 32_768,
        }
    )
    topic, produce = options.topic, producer.produce
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(_PARTITIONS)])
    while True:
        first = consumer.poll(0.1)
        for message in [first, *consumer.consume(_BATCH, 0)] if first is not None else ():
            while True:
                try:
                    produce(topic, message.value(), message.key(), message.partition(), headers=message.headers())
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)


if __name__ == "__main__":
    main()
