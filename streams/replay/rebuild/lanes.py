"""The lanes of a rebuild, in parallel threads, and in several processes if requested."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

import psycopg
import structlog

from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.servers.connection import Connection
from streams.kafka.partition_reader import RUN_RECORDS, PartitionReader
from streams.kafka.ranges import Logs
from streams.projection.positions import PROJECTED
from streams.replay.rebuild.lane import TOPIC, Lane, LaneSettings
from streams.replay.rebuild.throttle import Pace, Throttle
from streams.runtime.crash_points import arm
from streams.runtime.interpreter import tune_interpreter
from streams.runtime.priority import lower_priority
from streams.view.current_rules import Rules, overridden_by
from streams.view.cut_offs import cuts_of

__all__ = ["Share", "fill"]

log = structlog.get_logger()

_LONGEST_PAUSE = 15.0
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one process: partitions of accepted, each with its end offset."""

    connection: Connection
    generation: int
    serving: int
    ends: Mapping[int, int]
    pace: Pace
    principal: str
    batch: int = RUN_RECORDS
    crash_at: str | None = None


def fill(shares: list[Share], look: Callable[[], None]) -> None:
    """Fill all shares; a single share in this process. `look` is called several times a second.

    Raises a lane's error once all lanes have ended: committed batches stay.
    """
    if len(shares) == 1:
        stopped = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="rebuild") as pool:
            _wait([pool.submit(fill_share, shares[0], stopped)], look, stopped.set)
        return
    spawning = multiprocessing.get_context("spawn")
    stop = spawning.Event()
    following = (stop, os.getpid())
    with ProcessPoolExecutor(len(shares), mp_context=spawning, initializer=_follow, initargs=following) as processes:
        _wait([processes.submit(fill_share, share) for share in shares], look, stop.set)


def _wait(running: list[Future[None]], look: Callable[[], None], stop: Callable[[], None]) -> None:
    try:
        while True:
            done, open_ones = wait(running, _LOOK, return_when=FIRST_EXCEPTION)
            look()
            for one in done:
                one.result()
            if not open_ones:
                return
    except BaseException:
        stop()  # lanes end after their current batch, or an interrupt would wait for the whole log
        raise


_told_to_stop = threading.Event()
"""The stop event of a child process."""


def _follow(stop: Event, parent: int) -> None:
    # The parent process may be killed, even before this line: nobody would then stop this process or know that it
    # writes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            if stop.wait(0.5):
                _told_to_stop.set()
                return
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def fill_share(share: Share, stopped: threading.Event | None = None) -> None:
    """Fill the partitions of one share, each in its own lane; retry for half a minute if servers do not answer."""
    tune_interpreter(0.002)
    if share.crash_at:
        arm(share.crash_at)
    stopped = stopped or _told_to_stop
    with (
        Throttle.of(share.connection, share.pace, len(share.ends)) as throttle,
        ThreadPoolExecutor(len(share.ends)) as pool,
    ):
        lanes = [pool.submit(_lane, share, partition, end, throttle, stopped) for partition, end in share.ends.items()]
        wait(lanes, return_when=FIRST_EXCEPTION)
        if any(lane.done() and lane.exception() is not None for lane in lanes):
            stopped.set()  # the others stop after their current batch
        for lane in lanes:
            lane.result()


def _lane(share: Share, partition: int, end: int, throttle: Throttle, stopped: threading.Event) -> None:
    pause, connection = 0.5, share.connection
    facts = Logs(connection.kafka).describe(PROJECTED)
    settings = LaneSettings(
        connection.database.get_secret_value(), share.generation, connection.province, facts, share.serving
    )
    catalogue = load()

    def rules(asking: psycopg.Connection[Any]) -> Rules:
        return Rules(catalogue, connection.province, overridden_by(asking), cuts_of(asking))

    def session(store: psycopg.Connection[Any]) -> None:
        if share.pace.gentle:
            lower_priority(store)

    while True:
        try:
            with Registry(connection.registry) as registry:
                reader = PartitionReader(
                    connection.kafka, TOPIC, partition, principal=share.principal, records=share.batch
                )
                lane = Lane(
                    settings,
                    registry,
                    reader,
                    rules,
                    partition,
                    admit=throttle.admit,
                    on_session=session,
                    stopped=stopped,
                )
                with closing(lane):
                    lane.fill(end)
            return
        except (Retryable, psycopg.OperationalError) as error:
            if pause > _LONGEST_PAUSE or stopped.is_set():
                raise
            log.warning("rebuild.waits", partition=partition, why=str(error).strip(), next_try_in_seconds=pause)
            stopped.wait(pause)
            pause *= 2
