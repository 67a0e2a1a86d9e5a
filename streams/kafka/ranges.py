"""Topic ids, partitions and offset ranges of logs, and committed offsets of groups, from the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import Retryable, UsageError
from schemas.servers.kafka import Cluster, answer

__all__ = ["Committed", "Logs", "TopicFacts", "as_metadata"]

_TIMEOUT = 15.0

_ID_LENGTH = 22
"""Characters of a topic id: 16 bytes in base64, without padding."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as the broker knows it; `topic_id` changes when a topic is deleted and created anew."""

    name: str
    topic_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's commit for a partition: the next offset, and the id of the topic that it is for (empty: unknown)."""

    next_offset: int
    topic_id: str
    note: str = ""
    """The worker's own text beside the id."""


def as_metadata(topic_id: str, note: str = "") -> str:
    """Return the metadata of a commit: the topic id and the worker's note, ended by a NUL.

    confluent-kafka (up to 2.16) reads the metadata of a commit up to the next NUL, wherever in memory that is.
    """
    return f"{topic_id}{note}\0"


class Logs:
    """Queries of one cluster about its logs."""

    def __init__(self, kafka: Cluster) -> None:
        self._cluster = kafka
        self._admin = self._client()

    def _client(self) -> AdminClient:
        return AdminClient(self._cluster.client({"socket.timeout.ms": 10_000}))

    def describe(self, topics: Iterable[str]) -> dict[str, TopicFacts]:
        """Return the facts of these topics.

        Raises UsageError with the topics that do not exist, Retryable if the broker does not answer.
        """
        facts, missing = {}, []
        for name, future in self._admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=_TIMEOUT
        ).items():
            try:
                description = answer(future, _TIMEOUT + 5)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    missing.append(name)
                    continue
                raise self._cluster.failure(error.args[0]) from error
            facts[name] = TopicFacts(name, str(description.topic_id), len(description.partitions))
        if missing:
            raise UsageError(f"no such topic: {', '.join(sorted(missing))}; run `xinliu topics apply`")
        return facts

    def ranges(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], tuple[int, int]]:
        """Return the first offset that each log still contains and the offset after its last message."""
        wanted = list(partitions)
        return dict(
            zip(
                wanted,
                zip(
                    self._offsets(wanted, OffsetSpec.earliest()),
                    self._offsets(wanted, OffsetSpec.latest()),
                    strict=True,
                ),
                strict=True,
            )
        )

    def ends(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the high watermark of each log: the offset after its last message, open transactions included."""
        wanted = list(partitions)
        return dict(zip(wanted, self._offsets(wanted, OffsetSpec.latest()), strict=True))

    def firsts(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the first offset that each log still contains."""
        wanted = list(partitions)
        return dict(zip(wanted, self._offsets(wanted, OffsetSpec.earliest()), strict=True))

    def since(self, partitions: Iterable[tuple[str, int]], moment: float) -> Mapping[tuple[str, int], int]:
        """Return the first offset of each log at that time (seconds since 1970) or later; those without are missing."""
        wanted = list(partitions)
        found = self._offsets(wanted, OffsetSpec.for_timestamp(round(moment * 1000)))
        return {place: offset for place, offset in zip(wanted, found, strict=True) if offset >= 0}

    def readable(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the last stable offset of each log: the first message of an open transaction, or the log's end."""
        wanted = list(partitions)
        return dict(zip(wanted, self._offsets(wanted, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED), strict=True))

    def committed(self, group: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Committed]:
        """Return a consumer group's commits for these partitions; those without a commit are missing."""
        # Not by the AdminClient: librdkafka's (2.12–2.16) crashes the process if the coordinator has just moved or
        # started.
        consumer = Consumer(self._cluster.client({"group.id": group, "enable.auto.commit": False}))
        try:
            found = consumer.committed([TopicPartition(*place) for place in partitions], timeout=_TIMEOUT)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        finally:
            consumer.close()
        for place in found:
            if place.error is not None:  # as if without a commit, the partition would be read from its beginning
                raise self._cluster.failure(place.error)
        return {(tp.topic, tp.partition): Committed(tp.offset, *_told(tp)) for tp in found if tp.offset >= 0}

    def commit(self, group: str, partition: tuple[str, int], where: Committed, *, patience: float = 0.0) -> None:
        """Set a group's commit. Raises UsageError if the group still has members after `patience` seconds.

        A static member (with --instance) counts until its session times out, 15 s after it ended.
        """
        deadline = monotonic() + patience
        while True:
            try:
                return self._commit(group, partition, where)
            except UsageError:
                if monotonic() > deadline:
                    raise
                sleep(0.5)  # Kafka does not notify when a group becomes empty

    def _commit(self, group: str, partition: tuple[str, int], where: Committed) -> None:
        # This client takes no NUL; the reader of the commit cuts it to the length of an id.
        place = TopicPartition(*partition, where.next_offset, where.topic_id)
        (future,) = self._admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [place])], request_timeout=_TIMEOUT
        ).values()
        try:
            (found,) = answer(future, _TIMEOUT + 5).topic_partitions
        except KafkaException as error:
            raise self._not_set(group, error.args[0]) from error
        if found.error is not None:
            raise self._not_set(group, found.error)

    def _not_set(self, group: str, error: KafkaError) -> Exception:
        if error.code() in (KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID):
            return UsageError(
                f"the group {group} has members: stop its workers first; one with --instance counts for 15 s after it ended"
            )
        return self._cluster.failure(error)

    def _offsets(
        self,
        partitions: list[tuple[str, int]],
        spec: OffsetSpec,
        level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> list[int]:
        request = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        asked = self._admin.list_offsets(request, isolation_level=level, request_timeout=_TIMEOUT)
        try:
            found = {(tp.topic, tp.partition): answer(future, _TIMEOUT + 5).offset for tp, future in asked.items()}
        except Retryable:
            self._admin = self._client()
            raise
        except KafkaException as error:
            # A broker that was away comes back in another leader epoch, which librdkafka (2.16) does not learn from
            # being fenced: the same client would get the same error for minutes.
            self._admin = self._client()
            raise self._cluster.failure(error.args[0]) from error
        return [found[partition] for partition in partitions]


def _told(committed: TopicPartition) -> tuple[str, str]:
    # librdkafka (2.16) returns metadata without their end, so that any bytes may follow. As part of the id they would
    # make intake take the topic for a new one and read all of it again.
    try:
        told = committed.metadata or ""
    except UnicodeDecodeError as error:
        told = error.object.decode("latin-1")
    return told[:_ID_LENGTH], told[_ID_LENGTH:].partition("\0")[0]
