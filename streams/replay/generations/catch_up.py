"""The catch-up of a generation: folds the messages that it lacks, and notifies nobody.

It runs the code of the view worker, on `accepted` and `quarantine`, up to exact offsets: the end of the logs, or the
positions of another generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.errors import PositionLost, Retryable
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.generations import must_be_known
from streams.kafka.partition_reader import record_of
from streams.kafka.ranges import Logs
from streams.kafka.records import Record, Run
from streams.projection.positions import PROJECTED, prepare, resume
from streams.runtime.service import Backoff
from streams.view.current_rules import Rules, overridden_by
from streams.view.cut_offs import cuts_of
from streams.view.stage import ViewStage

__all__ = ["CatchUp", "Places", "catch_up"]

Places = Mapping[tuple[str, int], int]
"""Topic and partition → next offset."""

_BATCH = 10_000
_TIMEOUT = 30.0
_WAIT = 0.03
_TRIES = 8


def catch_up(
    connection: Connection, generation: int, *, until: Places | None = None, principal: str = "operator"
) -> int:
    """Fold missing messages into a generation, up to these places or the present ends of the logs; return their number.

    Raises Retryable if a server does not answer, PositionLost if the log does not contain the missing messages.
    """
    with CatchUp(connection, generation, principal=principal) as catching:
        return catching.to(until)


class CatchUp:
    """Catches up one generation, repeatedly; use it as a context.

    `principal` reads the logs. `silent`: the stage notifies nobody, and validates statements by the current rules as in
    a rebuild; both are for a generation that does not serve.
    """

    def __init__(
        self, connection: Connection, generation: int, *, principal: str = "operator", silent: bool = True
    ) -> None:
        self._database, self._kafka = connection.database.get_secret_value(), connection.kafka
        self._generation, self._logs = generation, Logs(connection.kafka)
        sources = load().departments(connection.province)
        self._facts = self._logs.describe([*PROJECTED, *(department.records_topic for department in sources)])
        self._sources = {department.key: self._facts[department.records_topic] for department in sources}
        self._registry = Registry(connection.registry)
        self._asking = connect(self._database, autocommit=True)
        rules = (
            Rules(load(), connection.province, overridden_by(self._asking), cuts_of(self._asking)) if silent else None
        )
        self._stage = ViewStage(
            self._database, self._registry, self._facts, generation=generation, silent=silent, rules=rules
        )
        self._consumer = Consumer(self._kafka.reader(principal, "catch-up", {"enable.partition.eof": True}))
        self._prepared = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._consumer.close()
        self._stage.close()
        self._asking.close()
        self._registry.close()

    def to(self, until: Places | None = None, told: Callable[[int, int], None] = lambda _done, _of: None) -> int:
        """Fold up to exactly these places, or the present ends of the logs; return the number of messages.

        `told` is the progress callback: offsets done, and offsets in all.
        """
        stands = self.stands()
        ends = self._logs.ends(sorted(stands)) if until is None else until
        left = {place: (offset, ends[place]) for place, offset in stands.items() if offset < ends.get(place, 0)}
        if not left:
            return 0
        of, done, folded = sum(end - first for first, end in left.values()), 0, 0
        self._consumer.assign([TopicPartition(*place, first) for place, (first, _) in left.items()])
        expected = {place: first for place, (first, _) in left.items()}
        over: set[tuple[str, int]] = set()
        while over < left.keys():
            records = self._read(left, over, expected)
            runs = [Run(*place, expected[place], tuple(found)) for place, found in sorted(records.items()) if found]
            for run in runs:
                done += run.next_offset - expected[run.topic, run.partition]
                expected[run.topic, run.partition] = run.next_offset
            if runs:
                self._patiently(lambda runs=runs: self._stage.finish(self._stage.prepare(runs)))  # type: ignore[misc]
            folded += sum(len(run.records) for run in runs)
            told(min(done, of), of)
        self._consumer.unassign()
        self._patiently(lambda: self._pass_holes(expected, {place: end for place, (_, end) in left.items()}))
        return folded

    def stands(self) -> dict[tuple[str, int], int]:
        """Return the generation's positions. Raises PositionLost if they do not fit the logs."""
        with connect(self._database, generation=self._generation, autocommit=True) as session:
            if not self._prepared:
                must_be_known(session, self._generation)
                prepare(session, self._facts, self._sources)
                self._prepared = True
            places = [(topic, p) for topic in PROJECTED for p in range(self._facts[topic].partitions)]
            return resume(session, self._logs, self._facts, places)

    def distance(self, until: Places | None = None) -> int:
        """Return how many offsets the generation lacks up to these places, or the present ends of the logs."""
        stands = self.stands()
        ends = self._logs.ends(sorted(stands)) if until is None else until
        return sum(max(0, ends.get(place, 0) - offset) for place, offset in stands.items())

    def _read(
        self, left: Mapping[tuple[str, int], tuple[int, int]], over: set[tuple[str, int]], expected: Places
    ) -> dict[tuple[str, int], list[Record]]:
        found: dict[tuple[str, int], list[Record]] = {}
        size = 0
        waits_until = monotonic() + _TIMEOUT
        while size < _BATCH and over < left.keys():
            try:
                # `consume` waits its full time for so many messages.
                messages = self._consumer.consume(_BATCH - size, _WAIT)
            except KafkaException as error:
                raise self._kafka.failure(error.args[0]) from error
            if not messages:
                if size:
                    break
                if monotonic() < waits_until:
                    continue
                raise Retryable("Kafka does not answer: the logs could not be read to their ends", server="kafka")
            for message in messages:
                place = (str(message.topic()), message.partition() or 0)
                if (problem := message.error()) is not None:
                    self._ends(problem)
                    if (message.offset() or 0) >= left[place][1]:
                        over.add(place)
                    continue
                record = record_of(message)
                if record.offset >= left[place][1]:
                    over.add(place)
                elif record.offset >= expected[place]:
                    found.setdefault(place, []).append(record)
                    size += 1
                    if record.offset + 1 == left[place][1]:
                        over.add(place)
        return found

    def _ends(self, error: KafkaError) -> None:
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            raise PositionLost(f"the logs do not hold what generation {self._generation} lacks: {error.str()}")
        if error.code() != KafkaError._PARTITION_EOF:
            raise self._kafka.failure(error)

    def _pass_holes(self, expected: Places, ends: Places) -> None:
        # Compaction has removed the messages before these ends since others read them: move the positions past the gap.
        with connect(self._database, generation=self._generation, autocommit=True) as session:
            for (topic, partition), end in ends.items():
                session.execute(
                    "UPDATE position SET next_offset = %s WHERE topic = %s AND partition = %s AND next_offset = %s",
                    (end, topic, partition, expected[topic, partition]),
                )

    def _patiently(self, call: Callable[[], None]) -> None:
        backoff = Backoff("catching_up.waits", longest=5.0)
        for _ in range(_TRIES):
            try:
                return call()
            except Retryable as error:
                sleep(backoff.next(error))
        return call()
