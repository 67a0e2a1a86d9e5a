"""Second reading of `accepted`: the log as evidence when the tables contradict themselves.

The log of truth is compacted and never expires: a statement without a message in it was never accepted, or has been
erased since. Single messages are read at the places that history names. If they are not there, one pass over the log
finds all records in question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.contracts.codec import HEADER, NotDecodable
from schemas.contracts.registry import Registry, WriterSchema
from schemas.errors import Retryable
from schemas.exchange.topics import EPOCH
from schemas.servers.kafka import Cluster
from streams.integrity.log_set import Key
from streams.kafka.headers import RECEIVED, SCHEMA
from streams.kafka.single_messages import StoredMessages

__all__ = ["Accepted", "AcceptedLog", "AcceptedStatement", "Keys", "WholeLog"]

_TIMEOUT = 15.0
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class AcceptedStatement:
    """A statement as it stands in `accepted`."""

    partition: int
    offset: int
    key: str
    epoch: int
    known_at: datetime
    received_at: datetime | None
    """Broker time of the department's own message; None for a statement of another province."""
    writer: WriterSchema
    body: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a stretch of a partition."""

    partition: int
    keys: Sequence[Key]
    next_offset: int


class AcceptedLog(Protocol):
    """The log of truth as the repair reads it. All methods raise Retryable if a server does not answer."""

    def at(self, places: Collection[tuple[int, int]]) -> Sequence[AcceptedStatement]:
        """Return the statements at these places (partition, offset); those that are gone are missing."""

    def about(self, records: Collection[UUID], upto: Mapping[int, int]) -> Sequence[AcceptedStatement]:
        """Return every statement about these records before these offsets, by partition, that was not erased."""

    def mentioning(self, usccs: Collection[str], upto: Mapping[int, int]) -> Collection[UUID]:
        """Return the records with a statement before these offsets that names one of these entities and was not
        erased."""


class WholeLog(AcceptedLog, Protocol):
    """The log of truth as the audit reads it."""

    def keys(self, since: Mapping[int, int], upto: Mapping[int, int]) -> Iterator[Keys]:
        """Yield the keys of all messages from offset `since` to before `upto`, in order, in batches."""

    def beginnings(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the first offset of these partitions; messages before it are gone."""

    def close(self) -> None:
        """Close the clients; the next question opens others."""


class Accepted:
    """`accepted` of this province's cluster; `principal` is the name under which it is read."""

    def __init__(self, kafka: Cluster, registry: Registry, *, principal: str = "view") -> None:
        self._cluster, self._registry = kafka, registry
        self._principal = principal
        self._single: StoredMessages | None = None
        self._following: Consumer | None = None

    def at(self, places: Collection[tuple[int, int]]) -> Sequence[AcceptedStatement]:
        """Return the statements at these places (partition, offset); those that are gone are missing."""
        if self._single is None:
            self._single = StoredMessages(self._cluster, principal=self._principal)
        found = self._single.read(("accepted", partition, offset) for partition, offset in places)
        return [entry for message in found.values() if (entry := self.entry(message)) is not None]

    def about(self, records: Collection[UUID], upto: Mapping[int, int]) -> Sequence[AcceptedStatement]:
        """Return every statement about these records before these offsets, by partition, that was not erased."""
        wanted = {record.hex.encode() for record in records}
        standing: dict[tuple[int, bytes], Message | None] = {}
        for message in self.every(upto):
            key = message.key() or b""
            if key[:32] in wanted and key[32:33] == b"|":
                standing[message.partition() or 0, bytes(key)] = message if message.value() is not None else None
        return [e for m in standing.values() if m is not None and (e := self.entry(m)) is not None]

    def mentioning(self, usccs: Collection[str], upto: Mapping[int, int]) -> Collection[UUID]:
        """Return the records with a statement before these offsets that names one of these entities and was not
        erased."""
        codes = [uscc.encode() for uscc in usccs]
        standing: dict[tuple[int, bytes], bool] = {}
        for message in self.every(upto):
            key, value = bytes(message.key() or b""), message.value() or b""
            if key[32:33] == b"|":
                place = (message.partition() or 0, key)
                if any(code in value for code in codes):
                    standing[place] = True
                elif not value:
                    standing.pop(place, None)
        return {UUID(key[:32].decode()) for _, key in standing}

    def close(self) -> None:
        """Close the clients."""
        for opened in (self._single, self._following):
            if opened is not None:
                opened.close()
        self._single = self._following = None

    def keys(self, since: Mapping[int, int], upto: Mapping[int, int]) -> Iterator[Keys]:
        """Yield the keys of all messages from offset `since` to before `upto`, in order, in batches."""
        consumer = self._follower()
        try:
            for partition, end in upto.items():
                first = since.get(partition, 0)
                if first >= end:
                    continue
                self._reach(consumer, partition, end)
                consumer.assign([TopicPartition("accepted", partition, first)])
                read = self._partition(consumer, first, end)
                while messages := list(islice(read, _AT_ONCE)):
                    yield Keys(partition, [_key(message) for message in messages], (messages[-1].offset() or 0) + 1)
                yield Keys(partition, (), end)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        finally:
            consumer.unassign()  # fetches nothing until the next question

    def beginnings(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the first offset of these partitions; messages before it are gone."""
        consumer = self._follower()
        try:
            return {
                partition: consumer.get_watermark_offsets(TopicPartition("accepted", partition), timeout=_TIMEOUT)[0]
                for partition in partitions
            }
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error

    def _follower(self) -> Consumer:
        if self._following is None:
            self._following = Consumer(self._cluster.reader(self._principal, "follow", {"enable.partition.eof": True}))
        return self._following

    def every(self, upto: Mapping[int, int]) -> Iterator[Message]:
        """Yield every message before these offsets, partition by partition. Raises Retryable if a log ends before
        that."""
        consumer = Consumer(self._cluster.reader(self._principal, "reread", {"enable.partition.eof": True}))
        try:
            for partition, end in upto.items():
                first = self._reach(consumer, partition, end)
                if first > 0:
                    # Statements that are gone from the log may have been accepted all the same: their absence must not
                    # remove a row.
                    raise Retryable(
                        f"accepted/{partition} begins at {first}: restore what stood before", server="kafka"
                    )
                consumer.assign([TopicPartition("accepted", partition, first)])
                yield from self._partition(consumer, first, end)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0]) from error
        finally:
            consumer.close()

    @staticmethod
    def _reach(consumer: Consumer, partition: int, end: int) -> int:
        """Return a partition's first offset. Raises Retryable if the partition ends before `end`."""
        first, last = consumer.get_watermark_offsets(TopicPartition("accepted", partition), timeout=_TIMEOUT)
        if last < end:
            # Another log, or one that lost its end: a statement that it lacks may have been accepted all the same.
            raise Retryable(f"accepted/{partition} ends at {last}, and {end} was folded from it", server="kafka")
        return int(first)

    def _partition(self, consumer: Consumer, first: int, end: int) -> Iterator[Message]:
        offset = first
        while offset < end:
            first_one = consumer.poll(_TIMEOUT)
            if first_one is None:
                raise Retryable("Kafka does not answer: accepted could not be read", server="kafka")
            # Time-out 0 takes the messages that are there: with a longer one consume waits until it has the full
            # number.
            for message in (first_one, *consumer.consume(_AT_ONCE, 0.0)):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    raise self._cluster.failure(error)
                offset = (message.offset() or 0) + 1
                if offset > end:
                    return
                yield message

    def entry(self, message: Message) -> AcceptedStatement | None:
        """Return a message's statement; None for a tombstone. Raises Retryable if its schema cannot be read."""
        value = message.value()
        if not isinstance(value, bytes) or len(value) <= HEADER:
            return None
        headers = {name: bytes(content or b"") for name, content in message.headers() or []}
        writer = self._writer(int.from_bytes(value[1:HEADER], "big"), headers.get(SCHEMA, b"").decode())
        return AcceptedStatement(
            message.partition() or 0,
            message.offset() or 0,
            (message.key() or b"").decode(),
            int(headers.get(EPOCH, b"0")),
            _time(message.timestamp()[1]),
            _time(int(headers[RECEIVED])) if headers.get(RECEIVED, b"").isdigit() else None,
            writer,
            value[HEADER:],
        )

    def _writer(self, schema_id: int, fingerprint: str) -> WriterSchema:
        # An unreadable message must not pass for a missing one.
        try:
            writer = self._registry.writer(schema_id)
        except NotDecodable as error:
            raise Retryable(f"accepted cannot be read: {error}", server="registry") from error
        if fingerprint and writer.fingerprint != fingerprint:
            raise Retryable(f"schema id {schema_id} meant another schema when it was accepted", server="registry")
        return writer


def _key(message: Message) -> Key:
    return message.offset() or 0, (message.key() or b"").decode(errors="replace"), bool(message.value())


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
