"""The peer Quix Streams 3.28: a streaming dataframe that ends in a batching sink, which writes row by row.

`python -m benchmarks.quix_peer --kafka … --database … --schema-id …` runs until it is stopped, in an environment of its
own (requirements-bench.txt), since Quix Streams needs another confluent-kafka than this project.
"""

from __future__ import annotations

import argparse
import tempfile

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.rowwise import RowWriter

_COMMIT_SECONDS, _COMMIT_EVERY = 0.25, 10_000
"""A checkpoint is a transaction for each partition: with shorter intervals there would be too many small ones."""


class PostgresSink(BatchingSink):
    """Writes the rows since the last checkpoint, one transaction for each partition."""

    def __init__(self, writer: RowWriter) -> None:
        super().__init__()
        self._writer = writer

    def write(self, batch: SinkBatch) -> None:
        """Write one partition's records."""
        messages = [(batch.partition, item.offset, item.timestamp, item.value) for item in batch]
        self._writer.write(*self._writer.prepare(messages))


def main() -> None:
    """Run until SIGTERM, which Quix Streams handles."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("--kafka", str), ("--database", str), ("--schema-id", int)):
        asked.add_argument(name, type=kind, required=True)
    options = asked.parse_args()
    app = Application(
        broker_address=options.kafka,
        consumer_group="peer-quix",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        commit_interval=_COMMIT_SECONDS,
        commit_every=_COMMIT_EVERY,
        state_dir=tempfile.mkdtemp(prefix="xinliu-bench-quix-"),
        consumer_extra_config={"fetch.wait.max.ms": 50, "queued.min.messages": 100_000},
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic("accepted", value_deserializer="bytes", key_deserializer="bytes"))
    frame.sink(PostgresSink(RowWriter(options.database, options.schema_id)))
    app.run()


if __name__ == "__main__":
    main()
