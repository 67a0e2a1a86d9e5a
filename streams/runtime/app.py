"""The Faust app of a worker, and how it is run: until it is told to stop, or must stop because going on would harm."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import faust
import faust.app.base
import structlog
from faust.tables import TableManager
from faust.types import TP

from schemas.errors import Fatal, Retryable, ServingMoved, UsageError, XinliuError
from schemas.servers.connection import WorkerTimes
from schemas.servers.kafka import Cluster
from streams.runtime.interpreter import tune_interpreter
from streams.runtime.service import Backoff, Thread
from streams.runtime.transport import RUN_CODEC, SCHEME, Positions

__all__ = ["Build", "StreamApp", "run", "run_beside", "start_thread"]

log = structlog.get_logger()

_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")

_STOP_DEADLINE = 30.0
"""Seconds that Faust has to stop in good order after a fatal error; then the process ends all the same."""


_HEARTBEATS_A_SESSION = 15
"""A worker learns with its next heartbeat that others of its group wait for it: a rebalance takes that long."""


class _Unscanned:
    """Takes the place of venusian, by which Faust notes for autodiscovery in which module each task was made: to find
    that out it resolves the path of every module there is, 0.2 s of a start."""

    @staticmethod
    def attach(*_: object, **__: object) -> None:
        """Note nothing: nothing is discovered here."""


faust.app.base.venusian = _Unscanned


class _NoTables(TableManager):
    """Is there from the first moment: Faust waits a second for tables to be declared before it subscribes, and we keep none."""

    async def on_start(self) -> None:
        """Start as the parent does behind its second."""
        await self._update_channels()
        await self.recovery.start()


class StreamApp(faust.App):
    """A Faust app that keeps no tables, declares no topics and serves no web page.

    `session` is WorkerTimes.session. `positions` says where reading goes on when that is not Kafka's commit; `failure`
    is what stopped the app; `topic_ids` says which log an offset that is committed counts in, `note` what else is to be
    committed with it. `lost` are partitions that are read from where their log begins now, and whose commit must stay
    where it is. `renew` returns what builds the app that takes its place when it stops for ServingMoved; it may take
    its time, in a thread.
    """

    positions: Positions | None = None
    topic_ids: Mapping[str, str]
    lost: Collection[TP] = frozenset()
    failure: BaseException | None = None
    renew: Callable[[], Build] | None = None

    def __init__(
        self,
        name: str,
        *,
        kafka: Cluster,
        first_offset: str,
        session: float = WorkerTimes().session,
        max_poll_records: int = 20_000,
        commit_every: float = 1.0,
        instance: str | None = None,
    ) -> None:
        super().__init__(
            name,
            broker=";".join(f"{SCHEME}://{server}" for server in kafka.servers.split(",")),
            broker_credentials=_credentials(kafka),
            autodiscover=False,
            store="memory://",
            datadir=tempfile.gettempdir(),
            topic_allow_declare=False,
            topic_disable_leader=True,
            TableManager=_NoTables,
            web_enabled=False,
            stream_wait_empty=False,
            # A run is thousands of records: a few of them are buffer enough.
            stream_buffer_maxsize=16,
            broker_max_poll_records=max_poll_records,
            consumer_max_fetch_size=4 << 20,
            broker_commit_interval=commit_every,
            # After a kill -9 the group waits this long before the next worker is given the partitions.
            broker_session_timeout=session,
            broker_rebalance_timeout=15.0,
            broker_heartbeat_interval=session / _HEARTBEATS_A_SESSION,
            broker_check_crcs=True,
            consumer_auto_offset_reset=first_offset,
            consumer_group_instance_id=instance,
            producer_partitioner=None,
            reply_create_topic=False,
        )
        self.stop_requested = asyncio.Event()
        self.topic_ids = {}
        self.note: Callable[[Any, int], str] = lambda _place, _offset: ""

    def runs(self, *topics: str) -> Any:
        """Return the channel of these topics whose events carry a `Run` each."""
        return self.topic(*topics, key_type=bytes, key_serializer="raw", value_serializer=RUN_CODEC)

    async def stop_for(self, error: BaseException) -> None:
        """Stop the process because of this error; the first one counts."""
        if self.failure is None:
            self.failure = error
            (log.info if isinstance(error, ServingMoved) else log.error)(
                "worker.stopping", worker=self.conf.id, why=str(error) or repr(error)
            )
        self.stop_requested.set()


Build = Callable[[], StreamApp]
"""Builds an app, on the event loop that it is to live on."""


def _credentials(kafka: Cluster) -> Any:
    """Return what Faust calls credentials; None where the cluster asks nobody who they are."""
    context = kafka.tls()
    if not kafka.protocol.startswith("SASL_"):
        return context
    mechanism = kafka.setting("sasl.mechanism") or ""
    if mechanism not in _MECHANISMS:
        raise UsageError(f"sasl.mechanism {mechanism!r}: the workers speak {', '.join(_MECHANISMS)}")
    return faust.SASLCredentials(
        username=kafka.setting("sasl.username"),
        password=kafka.setting("sasl.password"),
        mechanism=mechanism,
        ssl_context=context,
    )


def run(*builds: Build) -> None:
    """Build the apps inside a fresh event loop and run them until SIGTERM, SIGINT or a failure of one of them.

    An app that stops because another generation serves is built anew, while the others go on.
    Raises the failure that stopped it (Fatal, or another XinliuError), the first one; any other error becomes Fatal.
    """
    tune_interpreter()
    failure = asyncio.run(_run(builds))
    if isinstance(failure, XinliuError):
        raise failure
    if failure is not None:
        raise Fatal(f"{type(failure).__name__}: {failure}") from failure


class _Place:
    """Where an app lives, and the one that takes its place when another generation serves."""

    def __init__(self, build: Build) -> None:
        self.app = build()
        self._asked = False

    def ask(self) -> None:
        """Ask whatever app lives here to stop, and let none take its place."""
        self._asked = True
        self.app.stop_requested.set()

    async def live(self) -> None:
        """Run until crashed or asked to stop; why is in `app.failure`."""
        while True:
            await _live(self.app)
            moved = self.app.failure
            if not isinstance(moved, ServingMoved) or self.app.renew is None:
                return
            log.info("worker.follows", why=str(moved))
            with _deadline(moved):
                await self.app.stop()
            build = await self._built(self.app.renew)
            if build is None:
                return
            self.app = build()

    async def _built(self, renew: Callable[[], Build]) -> Build | None:
        backoff = Backoff(longest=5.0)
        while not self._asked:
            try:
                # The other apps of the process go on meanwhile.
                return await asyncio.to_thread(renew)
            except Retryable as error:
                await asyncio.sleep(backoff.next(error))
            except Exception as error:  # noqa: BLE001  # handed on whole: run() raises it
                self.app.failure = error
                return None
        self.app.failure = None
        return None


async def _run(builds: Sequence[Build]) -> BaseException | None:
    places = [_Place(build) for build in builds]
    loop = asyncio.get_running_loop()

    def ask() -> None:
        for place in places:
            place.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    # Side by side: none of them waits until another has been given its partitions.
    ended = [asyncio.ensure_future(place.live()) for place in places]
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    failure = next((place.app.failure for place in places if place.app.failure is not None), None)
    with _deadline(failure):
        ask()
        await asyncio.gather(*ended)
        await asyncio.gather(*(place.app.stop() for place in places))
    return failure


async def _live(app: StreamApp) -> None:
    """Run one app until it crashes or is asked to stop; why is in `app.failure`."""
    try:
        await app.start()
        crashed = asyncio.ensure_future(app.wait_until_stopped())
        asked = asyncio.ensure_future(app.stop_requested.wait())
        await asyncio.wait((crashed, asked), return_when=asyncio.FIRST_COMPLETED)
        crashed.cancel()
        asked.cancel()
    except Exception as error:  # noqa: BLE001  # handed on whole: run() raises it
        await app.stop_for(error)
    if app.crash_reason is not None and app.failure is None:
        app.failure = app.crash_reason


def run_beside(app: StreamApp, name: str, work: Thread) -> None:
    """Run this work for as long as the app runs."""

    @app.task
    async def run_beside() -> None:
        thread = start_thread(app, name, work.run)
        try:
            await app.wait_until_stopped()
        finally:
            work.stop()
            await asyncio.to_thread(thread.join, 10.0)


def start_thread(app: StreamApp, name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a thread inside the app's event loop; an exception that leaves `run` stops the app."""
    loop = asyncio.get_running_loop()

    def guarded() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  # handed on whole: the process ends with it
            asyncio.run_coroutine_threadsafe(app.stop_for(error), loop)

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread


@contextmanager
def _deadline(failure: BaseException | None) -> Iterator[None]:
    watchdog = threading.Timer(_STOP_DEADLINE, _end, (failure,))
    watchdog.daemon = True
    watchdog.start()
    yield
    watchdog.cancel()


def _end(failure: BaseException | None) -> None:
    # Faust can hang while it stops (a consumer thread that waits for a broker which is gone). Everything that counts
    # is in Kafka and PostgreSQL, so ending here loses nothing.
    log.error("worker.ended_hard", why=str(failure))
    os._exit(Fatal.exit_code if failure else 0)
