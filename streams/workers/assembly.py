"""The workers: one process each, built from a stage and the Faust app that feeds it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

import structlog
from faust.types import TP

from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.exchange.topics import exchange_topic
from schemas.operations.log import OperationsReader, OperationsWriter
from schemas.operations.topics import standing_topics
from schemas.operations.two_people import TwoPeople
from schemas.servers.connection import Connection
from schemas.store.database import connect, serving_generation
from schemas.store.generations import must_be_known
from streams.audit.projector import AuditProjector
from streams.cases.docket import Docket
from streams.cases.log import TOPIC as CASES
from streams.exchange.incoming.input import Both, others, receiving, resume_exchange
from streams.forwarding.forwarder import Forwarder
from streams.intake.pacing import SHARE, Distance, Paced, Pacing
from streams.intake.recorder import IntakeRecorder, SchemaRecorder
from streams.intake.schema_ids import Meanings
from streams.intake.stage import IntakeStage
from streams.intake.stops import Stopping
from streams.integrity.definitions import DefinitionsWatch, catalogue_sums
from streams.kafka.ranges import Logs, TopicFacts
from streams.kafka.single_messages import StoredMessages
from streams.monitoring.endpoint import Outside
from streams.monitoring.recorder import WorkRecorder
from streams.monitoring.unread_partitions import UnreadPartitions
from streams.projection.positions import INTAKE_GROUP, PROJECTED, load_catalogue, prepare, resume, resume_intake
from streams.projection.serving import ServingFollower
from streams.quarantine.redriver import Decisions, Redriver
from streams.quarantine.settlement import Settlement
from streams.reconciliation.reconciler import Reconciler
from streams.relay.recorder import RelayRecorder
from streams.relay.relay import ViewRelay
from streams.runtime.app import StreamApp, run_beside
from streams.runtime.collector import Collector, Hold, Work
from streams.runtime.service import Backoff, Thread
from streams.view.recorder import ViewRecorder
from streams.view.stage import ViewStage
from streams.workers.exchange_origin import origin_side
from streams.workers.exchange_threads import status_threads
from streams.workers.server_watch import IntakeLag, SchemaLook, StoreWatch, Watch, in_turn
from streams.workers.services import (
    Holding,
    follow_decisions,
    keep_pace,
    positions_read,
    read_everything,
    watch_servers,
)
from streams.workers.session_guard import SessionGuard
from streams.workers.set_equality import equal_threads

__all__ = ["INTAKE_SERVERS", "VIEW_SERVERS", "intake_worker", "view_worker"]

INTAKE_SERVERS = ("kafka", "registry")
VIEW_SERVERS = ("kafka", "registry", "postgres")
"""The servers that a worker must reach to be ready."""

log = structlog.get_logger()

_PATIENCE = 25.0
"""Seconds. A worker that cannot learn its positions for so long ends, and whoever runs it starts it anew."""
_COMMIT_EVERY = 0.25
_LANES = 2
"""How many batches a view worker writes at once, each of partitions of its own and on a connection of its own: while
one waits for PostgreSQL another makes its rows ready."""


def intake_worker(
    connection: Connection,
    *,
    outside: Outside | None = None,
    catalogue: Path | None = None,
    instance: str | None = None,
) -> Callable[[], StreamApp]:
    """Return a function that builds the intake worker: records.<department> of this province → accepted and quarantine;
    the same for records that other provinces push here, if this province shares records.

    The worker shows its figures in `outside` (INTAKE_SERVERS).
    """
    shown = outside or Outside("intake", INTAKE_SERVERS)
    known = load(catalogue)
    departments = {department.records_topic: department for department in known.departments(connection.province)}
    logs = Logs(connection.kafka)
    exchanges = [exchange_topic(province) for province in others(connection, known)]
    facts = logs.describe([*departments, *exchanges, *PROJECTED])
    registry = Registry(connection.registry)
    forwarder = _forwarder(connection, registry, facts)
    by = f"intake@{socket.gethostname()}"
    stopping = Stopping(
        connection.intake_limits,
        {topic: department.key for topic, department in departments.items()},
        OperationsWriter(connection.kafka, registry).write,
        by=by,
    )
    meanings = Meanings(
        OperationsWriter(connection.kafka, registry).write, by, changed=SchemaRecorder(shown.instruments).changed
    )
    # Clients of its own: other threads use those of the work.
    beside = Registry(connection.registry)
    letting_through = _forwarder(connection, beside, facts)
    redriver = Redriver(
        IntakeStage(beside, known, departments, facts, letting_through, meanings=meanings),
        StoredMessages(connection.kafka, principal="intake"),
        letting_through,
        {topic: facts[topic].topic_id for topic in departments},
    )
    decisions = Decisions(
        redriver,
        OperationsWriter(connection.kafka, beside).write,
        by=by,
        people=TwoPeople(connection.kafka, connection.approval),
    )
    operations = OperationsReader(connection.kafka, registry, principal="intake")
    _take_up(operations, decisions, stopping, meanings)
    for topic in filter(stopping.holds, departments):
        log.warning("intake.still_stopped", department=departments[topic].key, see="xinliu intake status")
    recorder = IntakeRecorder(shown.instruments, [department.key for department in departments.values()])
    stage = IntakeStage(
        registry, known, departments, facts, forwarder, recorder=recorder, stopping=stopping, meanings=meanings
    )

    foreign = receiving(connection, known, registry, forwarder, shown.instruments)
    lost = list[TP]()

    def positions(partitions: frozenset[TP]) -> Mapping[TP, int]:
        places = [(tp.topic, tp.partition) for tp in partitions]
        found, gone = resume_intake(logs, facts, (place for place in places if place[0] in departments), stopping.holds)
        lost[:] = [TP(*place) for place in gone]
        stage.resumed({place: offset for place, offset in found.items() if place not in gone})
        if foreign is not None:
            found |= resume_exchange(foreign, logs, facts, places)
        return {TP(*place): offset for place, offset in found.items()}

    def build() -> StreamApp:
        app = _app(INTAKE_GROUP, connection, instance, max_poll_records=SHARE)
        app.lost = lost
        app.topic_ids = {name: known.topic_id for name, known in facts.items()}
        if foreign is not None:
            app.note = lambda tp, offset: foreign.note((tp.topic, tp.partition), offset)
        work = WorkRecorder(shown)
        _seek_by(app, positions, work)
        both: Work = stage if foreign is None else Both(stage, foreign)
        pacing = _pacing(connection, logs, facts, departments)
        hold = Holding(app, stopping, pacing)
        (collector,) = _feed(
            app, [*departments, *exchanges], [Paced(both, pacing)], work, hold=hold, tick=stage.tick, share=pacing.share
        )
        follow_decisions(app, operations, stopping, collector, decisions, meanings)
        keep_pace(app, pacing, stopping, collector)
        lag = IntakeLag(shown.instruments, logs, _places(facts, departments), lambda: positions_read(app))
        watch_servers(
            app,
            shown.probe,
            Watch(shown.probe, {"kafka": lag.look, "registry": SchemaLook(connection.registry, meanings).look}),
        )
        read = _places(facts, [*departments, *exchanges])
        read_everything(app, UnreadPartitions(read, logs.readable, shown.instruments, shown.probe), hold.holds)
        return app

    return build


def _take_up(operations: OperationsReader, decisions: Decisions, stopping: Stopping, meanings: Meanings) -> None:
    """Pass on the decisions of operators and workers up to now."""
    backoff = Backoff(patience=_PATIENCE)
    held = operations.held(lambda error: sleep(backoff.next(error)))
    decisions.held(held)
    for operation in held:
        stopping.follow(operation, news=False)
        meanings.follow(operation)


def view_worker(
    connection: Connection,
    *,
    generation: int | None = None,
    outside: Outside | None = None,
    catalogue: Path | None = None,
    instance: str | None = None,
) -> Callable[[], StreamApp]:
    """Return a function that builds the view worker: accepted and quarantine → one generation in PostgreSQL, and the
    relay.

    Without `generation` it follows the one that serves: when another does, its app is built anew with that one, with
    all services beside it. With a number it stays with that generation, and publishes nothing of it unless it serves.
    The worker shows its figures in `outside` (VIEW_SERVERS).
    """
    shown = outside or Outside("view", VIEW_SERVERS)
    database = connection.database.get_secret_value()
    follows = generation is None
    generation = _chosen(database, generation)
    logs = Logs(connection.kafka)
    known = load(catalogue)
    sources = known.departments(connection.province)
    facts = logs.describe([*PROJECTED, CASES, *(department.records_topic for department in sources)])
    registry = Registry(connection.registry)
    with connect(database, generation=generation, autocommit=True) as session:
        load_catalogue(session, known, connection.province)
        catalogue_rows = catalogue_sums(session)
        prepare(session, facts, {department.key: facts[department.records_topic] for department in sources})
    relay = ViewRelay(database, connection.kafka, registry, generation=generation, recorder=RelayRecorder(shown))
    reconciler = Reconciler(database, province=connection.province, generation=generation, on_commit=relay.wake)

    origin = origin_side(connection, generation=generation, logs=logs, outside=shown)
    docket = Docket.of(connection, known, generation=generation, topic_id=facts[CASES].topic_id)

    def committed() -> None:
        relay.wake()
        reconciler.wake()
        if origin is not None:
            origin.publisher.wake()

    recorders = [ViewRecorder(shown.instruments, [department.key for department in sources]) for _ in range(_LANES)]
    stages = [
        ViewStage(
            database,
            registry,
            facts,
            generation=generation,
            recorder=recorder,
            on_commit=committed,
            sharing=origin.sharing if origin is not None else None,
            follows=follows,
            idle=connection.times.idle_in_transaction,
        )
        for recorder in recorders
    ]

    def positions(partitions: frozenset[TP]) -> Mapping[TP, int]:
        with connect(database, generation=generation, autocommit=True) as session:
            found = resume(session, logs, facts, ((tp.topic, tp.partition) for tp in partitions))
        return {TP(topic, partition): offset for (topic, partition), offset in found.items()}

    def build() -> StreamApp:
        log.info("view.folds", generation=generation, follows=follows)
        # Intake lets heavy departments rest by how far the view has committed (streams/intake/pacing.py).
        app = _app("xinliu-view", connection, instance, commit_every=_COMMIT_EVERY)
        app.topic_ids = {topic: facts[topic].topic_id for topic in PROJECTED}
        work = WorkRecorder(shown)
        _seek_by(app, positions, work)
        _feed(app, list(PROJECTED), stages, work)
        if follows:
            app.renew = partial(view_worker, connection, outside=shown, catalogue=catalogue, instance=instance)
            run_beside(app, "following", ServingFollower(database, generation=generation))
        beside: list[tuple[str, Thread]] = [
            ("relay", relay),
            ("settling", Settlement(database, generation=generation, on_commit=relay.wake)),
            ("reconciler", reconciler),
            *status_threads(connection, known, generation=generation, shown=shown).items(),
            *equal_threads(
                connection, generation=generation, partitions=facts["accepted"].partitions, shown=shown, on_commit=committed,
                sharing=origin.sharing if origin is not None else None,
            ).items(),
            ("cases", docket),
            ("operations' audit", AuditProjector(connection, shown=shown.instruments)),
            ("definitions", DefinitionsWatch(
                database, every=connection.looks.definitions, others=connection.database_roles, catalogue=catalogue_rows,
                shown=shown.instruments,
            )),
        ]  # fmt: skip
        if origin is not None:
            beside += [("exchange", origin.publisher), ("sweep", origin.sweep)]
        for name, thread in beside:
            run_beside(app, name, thread)
        kept = [(topic, 0) for topic in (*standing_topics(connection.kafka), CASES)]
        store = StoreWatch(
            shown.instruments, logs, _places(facts, PROJECTED), database, generation=generation, kept=kept
        )
        guard = SessionGuard(shown.instruments, shown.probe, database, generation=generation)
        looks = {
            "kafka": store.look_at_kafka,
            "registry": _asks(connection),
            "postgres": in_turn(store.look_at_postgres, guard.look),
        }
        watch_servers(app, shown.probe, Watch(shown.probe, looks, close=in_turn(store.close, guard.close)))
        read_everything(app, UnreadPartitions(_places(facts, PROJECTED), logs.readable, shown.instruments, shown.probe))
        return app

    return build


def _pacing(connection: Connection, logs: Logs, facts: Mapping[str, TopicFacts], departments: Iterable[str]) -> Pacing:
    distance = Distance(connection.kafka, logs, _places(facts, PROJECTED))
    return Pacing(departments, distance, close=distance.close)


def _app(group: str, connection: Connection, instance: str | None, **more: Any) -> StreamApp:
    session = connection.times.session
    return StreamApp(group, kafka=connection.kafka, first_offset="none", session=session, instance=instance, **more)


def _chosen(database: str, generation: int | None) -> int:
    with connect(database, generation=generation, autocommit=True) as session:
        chosen = serving_generation(session) if generation is None else generation
        must_be_known(session, chosen)
    return chosen


def _seek_by(app: StreamApp, positions: Callable[[frozenset[TP]], Mapping[TP, int]], recorder: WorkRecorder) -> None:
    async def seek(partitions: frozenset[TP]) -> Mapping[TP, int]:
        backoff = Backoff(patience=_PATIENCE)
        while partitions:
            try:
                with recorder.trying("seek"):
                    return await asyncio.to_thread(positions, partitions)
            except Retryable as error:
                await asyncio.sleep(backoff.next(error))
        return {}

    app.positions = seek


def _feed(
    app: StreamApp,
    topics: Sequence[str],
    works: Sequence[Work],
    recorder: WorkRecorder,
    *,
    hold: Hold | None = None,
    tick: Callable[[], None] | None = None,
    share: Callable[[], int | None] = lambda: None,
) -> list[Collector]:
    """Feed what arrives to these works, each with partitions of its own; they run side by side."""

    async def reread(offsets: dict[tuple[str, int], int]) -> None:
        assigned = app.consumer.assignment()
        wanted = {TP(*place): offset for place, offset in offsets.items() if TP(*place) in assigned}
        if wanted:
            await app.consumer.seek_to(wanted)

    collectors = [
        Collector(
            work,
            reread=reread,
            recorder=recorder,
            hold=hold,
            tick=tick,
            share=share,
            lane=f" {lane}" if lane > 1 else "",
        )
        for lane, work in enumerate(works, 1)
    ]

    @app.agent(app.runs(*topics), name=f"{app.conf.id}.runs")
    async def collect(stream: Any) -> None:
        # The collector acks, once the effect is lasting: a message that Faust acks here on an exception is lost.
        async for event in stream.noack().events():
            await collectors[event.value.partition % len(collectors)].add(event)

    def work_on(collector: Collector) -> None:
        async def run() -> None:
            await collector.run(app.stop_for)

        app.task(run)

    for collector in collectors:
        work_on(collector)
    return collectors


def _forwarder(connection: Connection, registry: Registry, facts: Mapping[str, TopicFacts]) -> Forwarder:
    return Forwarder(
        connection.kafka,
        registry,
        accepted_partitions=facts["accepted"].partitions,
        quarantine_partitions=facts["quarantine"].partitions,
    )


def _places(facts: Mapping[str, TopicFacts], topics: Iterable[str]) -> list[tuple[str, int]]:
    return [(topic, partition) for topic in topics for partition in range(facts[topic].partitions)]


def _asks(connection: Connection) -> Callable[[], None]:
    # Its own: another thread uses the client of the work.
    return Registry(connection.registry).ask
