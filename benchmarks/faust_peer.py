"""The peer Faust, as in its documentation: an agent that takes up to 1,000 events and writes them row by row.

`python -m benchmarks.faust_peer --kafka … --database … --schema-id …` runs until it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Sequence
from typing import Any

import faust

from benchmarks.rowwise import RowWriter

_TAKEN, _WITHIN = 1_000, 0.02


def _app(kafka: str, writer: RowWriter) -> faust.App:
    app = faust.App(
        "peer-faust",
        broker=f"kafka://{kafka}",
        autodiscover=False,
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="xinliu-bench-faust-"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=5_000,
    )
    topic = app.topic("accepted", key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")

    def write(events: Sequence[Any]) -> None:
        messages = [(e.message.partition, e.message.offset, int(e.message.timestamp * 1000), e.value) for e in events]
        writer.write(*writer.prepare(messages))

    @app.agent(topic)
    async def project(stream: Any) -> None:
        async for events in stream.take_events(_TAKEN, within=_WITHIN):
            await asyncio.to_thread(write, events)

    return app


async def _run(options: argparse.Namespace) -> None:
    app = _app(options.kafka, RowWriter(options.database, options.schema_id))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await app.start()
    await stopped.wait()
    await app.stop()


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("--kafka", str), ("--database", str), ("--schema-id", int)):
        asked.add_argument(name, type=kind, required=True)
    asyncio.run(_run(asked.parse_args()))
