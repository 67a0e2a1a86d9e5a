"""The parts that run beside a worker's batches: operators' decisions, pacing, the server watch, unread partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from faust.types import TP

from schemas.errors import PositionLost, Retryable
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader
from streams.intake.pacing import Pacing
from streams.intake.schema_ids import Meanings
from streams.intake.stops import Stopping
from streams.monitoring.health import Probe
from streams.monitoring.unread_partitions import GroupReading, UnreadPartitions
from streams.quarantine.redriver import Decisions
from streams.runtime.app import StreamApp, run_beside, start_thread
from streams.runtime.collector import Collector
from streams.workers.server_watch import EVERY, Watch

__all__ = ["Holding", "follow_decisions", "keep_pace", "positions_read", "read_everything", "watch_servers"]

_RESUME_SECONDS = 60.0

log = structlog.get_logger()


class Holding:
    """The pause of partitions of departments that are stopped or rest, through Faust's consumer."""

    def __init__(self, app: StreamApp, stopping: Stopping, pacing: Pacing) -> None:
        self._app, self._stopping, self._pacing = app, stopping, pacing

    def holds(self, topic: str) -> bool:
        """Return whether the department's intake is stopped, or rests."""
        return self._stopping.holds(topic) or self._pacing.holds(topic)

    def pause(self, places: set[tuple[str, int]]) -> None:
        """Fetch no more of these partitions. A rebalance that assigns them anew lifts the pause; the next run pauses again."""
        self._app.consumer.pause_partitions({TP(*place) for place in places})

    async def resume(self, offsets: dict[tuple[str, int], int]) -> set[tuple[str, int]]:
        """Go back to these offsets, and fetch again; return the partitions for which that was done."""
        ours = self._app.consumer.assignment()
        wanted = {TP(*place): offset for place, offset in offsets.items() if TP(*place) in ours}
        if gone := sorted(f"{tp.topic} {tp.partition}" for tp in wanted if tp in self._app.lost):
            # Its log has lost records that intake has not taken over: the next start reports it, and how to accept it.
            await self._app.stop_for(
                PositionLost(f"records were deleted before intake took them over: {', '.join(gone)}")
            )
            return set()
        if wanted:
            await self._app.consumer.seek_to(wanted)
            self._app.consumer.resume_partitions(set(wanted))
        return {(tp.topic, tp.partition) for tp in wanted}


def follow_decisions(
    app: StreamApp,
    operations: OperationsReader,
    stopping: Stopping,
    collector: Collector,
    decisions: Decisions,
    meanings: Meanings,
) -> None:
    """Follow operators' decisions for as long as the app runs, and carry them out."""

    @app.task
    async def follow_beside() -> None:
        loop = asyncio.get_running_loop()

        def take(operation: Operation) -> None:
            decisions.follow(operation)
            meanings.follow(operation)
            topic = stopping.follow(operation)
            if topic is not None:
                log.info("intake.resumed", department=operation.department, by=operation.by, why=operation.reason)
                asyncio.run_coroutine_threadsafe(collector.go_on(topic), loop).result(_RESUME_SECONDS)

        thread = start_thread(app, "operations", lambda: operations.follow(take))
        try:
            await app.wait_until_stopped()
        finally:
            operations.stop()
            await asyncio.to_thread(thread.join, 10.0)

    run_beside(app, "quarantine", decisions)


def keep_pace(app: StreamApp, pacing: Pacing, stopping: Stopping, collector: Collector) -> None:
    """Let heavy departments rest while the view is far behind, for as long as the app runs."""

    @app.task
    async def pace_beside() -> None:
        loop = asyncio.get_running_loop()

        def go_on(topic: str) -> None:
            if not stopping.holds(topic):
                asyncio.run_coroutine_threadsafe(collector.go_on(topic), loop).result(_RESUME_SECONDS)

        thread = start_thread(app, "pacing", lambda: pacing.run(go_on))
        try:
            await app.wait_until_stopped()
        finally:
            pacing.stop()
            await asyncio.to_thread(thread.join, 10.0)


def watch_servers(app: StreamApp, probe: Probe, watch: Watch) -> None:
    """Query the servers for as long as the app runs, and show that the event loop turns."""

    @app.task
    async def watch_beside() -> None:
        thread = start_thread(app, "watch", watch.run)
        try:
            while not app.should_stop:
                probe.beat("events")
                probe.assigned(len(app.consumer.assignment()))
                await app.sleep(1.0)
        finally:
            probe.ended("events")
            watch.stop()
            await asyncio.to_thread(thread.join, 2.0)


def read_everything(
    app: StreamApp, unread: UnreadPartitions, holds: Callable[[str], bool] = lambda _topic: False
) -> None:
    """Check that every partition is read, and rejoin the group if one is not. `holds` returns whether a topic is paused."""

    @app.task
    async def read_beside() -> None:
        while not app.should_stop:
            shared = await app.consumer.shared_out()
            standing = positions_read(app)
            in_hand = {(tp.topic, tp.partition) for tp in app.consumer.in_hand()}
            paused = {place for place in standing if holds(place[0])}
            known = None if shared is None else {(tp.topic, tp.partition) for tp in shared}
            try:
                # In a thread: it may query Kafka for the ends of the logs.
                if await asyncio.to_thread(unread.look, GroupReading(known, standing, in_hand | paused)):
                    await app.consumer.rejoin()
            except Retryable as error:
                log.info("worker.unread_unknown", why=str(error))
            await app.sleep(EVERY)


def positions_read(app: StreamApp) -> dict[tuple[str, int], int]:
    return {(tp.topic, tp.partition): offset for tp, offset in app.consumer.standing().items()}
