"""A session: one uninterrupted run of copying, from a consumer here to a producer there, until an error or a stop.

Any trouble simply ends a session; the next one asks both clusters where to begin. So there is one way of recovery from
a crash, an outage and a refusal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic, time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from consumers.links.clusters import Place, Side
from consumers.links.metrics import LinkMetrics
from consumers.links.progress import LinkProgress
from consumers.links.schema_ids import Translation, Untranslatable
from schemas.errors import Retryable
from schemas.exchange.topics import ORIGIN

__all__ = ["Session"]

Refused = Callable[[Place, int, str], None]
"""Called with the partition, the offset in the own log, and the reason why the peer never takes it."""

_BATCH = 2_000
_WAIT = 0.1
_LOOK = 1.0
"""Interval in seconds of checking topic ids and the ends of the own logs, which the client knows from its fetches."""
_CLOSING = 3.0
_PROOF_SECONDS = 3_600.0
"""The peer's broker surely remembers the producer for so long; it forgets one after a day without a message."""

_NO_VERDICT = frozenset(
    {
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._FATAL,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""Errors of a delivery without a fault of the message."""

_ENDS_IT = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})


class Session:
    """Copies these partitions, given with their topic's id, from offsets of the own log; `far_ids` are the peer's.

    `singly` sends each message alone and waits for its result: slow, but it finds the message that the peer refuses.
    `copy` raises Retryable or UsageError, whatever ended the session.
    """

    def __init__(
        self,
        own: Side,
        peer: Side,
        begins: Mapping[Place, tuple[str, int]],
        far_ids: Mapping[str, str],
        translation: Translation,
        progress: LinkProgress,
        metrics: LinkMetrics,
        refused: Refused,
        *,
        singly: bool = False,
    ) -> None:
        self._own, self._peer, self._translation = own, peer, translation
        self._progress, self._metrics, self._refused, self._singly = progress, metrics, refused, singly
        self._stands: set[Place] = set()
        self._proven: dict[Place, float] = {}
        """When the peer last confirmed a message of this producer, by partition."""
        self._trouble: Exception | None = None
        self.fell_short = False
        """The producer stopped rather than skip a message that was refused permanently."""
        # Template of the header's value: `… % offset`.
        self._origins = {
            (topic, number): f"{topic} {topic_id} {number} ".encode() + b"%d"
            for (topic, number), (topic_id, _) in begins.items()
        }
        self._consumer = own.reader(
            error_cb=partial(self._server_error, own),
            **{"fetch.queue.backoff.ms": 10, "fetch.error.backoff.ms": 100, "queued.max.messages.kbytes": 16_384},
        )
        try:
            self._producer = Producer(self._producing())
            self._consumer.assign([TopicPartition(*place, offset) for place, (_, offset) in begins.items()])
        except BaseException:
            self._consumer.close()
            raise
        self._looked_at = 0.0
        own_ids = {topic: topic_id for (topic, _), (topic_id, _) in begins.items()}
        self._known_ids = [(side, side.topic_ids(ids), ids) for side, ids in ((own, own_ids), (peer, far_ids))]

    def _producing(self) -> dict[str, Any]:
        return self._peer.cluster.client(
            {
                "enable.idempotence": True,
                "acks": "all",
                # A permanently refused message ends the producer: otherwise the next ones would pass it, and after a
                # kill the link would go on behind them.
                "enable.gapless.guarantee": True,
                "delivery.timeout.ms": 0,  # for ever, for the same reason
                "compression.type": "lz4",
                "linger.ms": 1,
                "batch.num.messages": 1 if self._singly else 10_000,
                "queue.buffering.max.messages": 50_000,
                "queue.buffering.max.kbytes": 32_768,
                "message.max.bytes": 16 << 20,
                "socket.keepalive.enable": True,
                "socket.timeout.ms": 30_000,
                "reconnect.backoff.max.ms": 2_000,
                "error_cb": partial(self._server_error, self._peer),
                "log_level": 2,
            }
        )

    def copy(self, until: Callable[[], bool]) -> None:
        """Copy until `until` returns true. Messages then on their way are confirmed, or a later session sends them."""
        try:
            while not until():
                first = self._consumer.poll(_WAIT)
                # Messages read but not passed on must not be skipped: the session ends there, whatever the reason.
                left = first is not None and not self._hand_on([first, *self._consumer.consume(_BATCH, 0)], until)
                self._producer.poll(0)
                if self._trouble is not None:
                    raise self._trouble
                if left:
                    break
                if monotonic() - self._looked_at > _LOOK:
                    self._look()
            self._producer.flush(_CLOSING)
        except KafkaException as error:
            self.fell_short |= error.args[0].code() == KafkaError._GAPLESS_GUARANTEE
            raise self._peer.failure(error.args[0]) from error

    def close(self) -> None:
        """Abandon the messages on their way. The producer still reports its refusals."""
        try:
            self._producer.purge()
            deadline = monotonic() + _CLOSING
            while len(self._producer) and monotonic() < deadline:
                self._served(0.1)
        finally:
            self._consumer.close()

    def _served(self, seconds: float) -> None:
        try:
            self._producer.poll(seconds)
        except KafkaException as error:  # it raises the error that ended it again; its reports still come
            self.fell_short |= error.args[0].code() == KafkaError._GAPLESS_GUARANTEE

    def _hand_on(self, batch: Sequence[Message], until: Callable[[], bool]) -> bool:
        """Pass a batch to the producer, except for held partitions. Return false if some of it was left."""
        by_place: dict[Place, list[Message]] = defaultdict(list)
        ends: dict[Place, int] = {}
        for message in batch:
            error = message.error()
            place = message.topic(), message.partition()
            if error is None:
                by_place[place].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[place] = message.offset()
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise Retryable(
                    f"{self._own.province}: {place[0]}/{place[1]} does not hold the next offset", server=self._own.kafka
                )
            elif not error.retriable():
                raise self._own.failure(error)
        for place, messages in by_place.items():
            if place not in self._stands and not self._send(place, messages, until):
                return False
        for place, end in ends.items():
            self._progress.read_to(place, end)
        return True

    def _send(self, place: Place, messages: list[Message], until: Callable[[], bool]) -> bool:
        """Pass the messages of one partition to the producer. Return false if no more may be passed."""
        topic, partition = place
        origin, translate, produce, singly = (
            self._origins[place],
            self._translation.of,
            self._producer.produce,
            self._singly,
        )
        last, sent = messages[-1], 0
        proven = monotonic() - self._proven.get(place, -_PROOF_SECONDS) < _PROOF_SECONDS
        now = time()
        for number, message in enumerate(messages):
            offset = message.offset()
            headers = [header for header in message.headers() or () if header[0] != ORIGIN]
            headers.append((ORIGIN, origin % offset))
            try:
                value = translate(message.value())
            except Untranslatable as error:
                self._stand(place, offset, str(error))
                # Earlier ones are on their way already, and nobody waits for them.
                self._count(place, number, sent)
                return True
            report = None
            if singly or message is last or not proven:
                received = message.timestamp()[1] / 1000
                report = partial(self._delivered, place, offset, received, max(0.0, now - received))
            while True:
                try:
                    produce(topic, value, message.key(), partition, on_delivery=report, headers=headers)
                    break
                except BufferError:
                    self._producer.poll(_WAIT)
                    if self._trouble is not None or until():
                        return False
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                        raise
                    self._stand(place, offset, error.args[0].str())
                    self._count(place, number, sent)
                    return True
            sent += len(value) if value is not None else 0
            if number == 0:
                self._progress.handed(place, last.offset() + 1)
            if not proven:
                # A broker that does not know this producer takes any sequence number: if it refused the first message,
                # it would take the second. Once it has one, it takes none out of order.
                if not self._prove(place, offset, until):
                    return False
                proven = True
        self._count(place, len(messages), sent)
        return True

    def _prove(self, place: Place, offset: int, until: Callable[[], bool]) -> bool:
        """Wait until the peer has confirmed this message. Return false if it does not, or the session stops."""
        while self._progress.next_of(place) <= offset:
            self._producer.poll(_WAIT)
            if self._trouble is not None or place in self._stands or until():
                return False
        return True

    def _count(self, place: Place, messages: int, size: int) -> None:
        self._metrics.sent.labels(self._peer.province, place[0]).inc(messages)
        self._metrics.bytes.labels(self._peer.province, place[0]).inc(size)

    def _stand(self, place: Place, offset: int, why: str) -> None:
        """Hold a partition before this message; the others go on."""
        self._stands.add(place)
        self._consumer.pause([TopicPartition(*place)])
        self._refused(place, offset, why)

    def _delivered(
        self, place: Place, offset: int, received: float, age: float, error: KafkaError | None, message: Message
    ) -> None:
        if error is None:
            self._progress.confirmed(place, offset, received)
            self._proven[place] = monotonic()
            took = age + (message.latency() or 0.0)
            self._metrics.seconds.labels(self._peer.province, place[0]).observe(took)
            return
        if error.code() in _NO_VERDICT or error.retriable():
            if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                self._trouble = self._trouble or self._peer.failure(error)
            return
        # The flag is set before the producer reports that it has stopped.
        self.fell_short = True
        if not self._singly:
            self._trouble = self._trouble or self._peer.failure(error)
        elif place not in self._stands:
            self._stands.add(place)
            self._refused(place, offset, error.str())

    def _server_error(self, side: Side, error: KafkaError) -> None:
        self.fell_short |= error.code() == KafkaError._GAPLESS_GUARANTEE
        if error.fatal() or error.code() in _ENDS_IT:
            self._trouble = self._trouble or side.failure(error)

    def _look(self) -> None:
        self._looked_at = monotonic()
        for place in self._origins:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            self._progress.ends(place, end)
        for side, asking, known in self._known_ids:
            for topic, topic_id in asking.latest().items():
                if topic_id != known[topic]:
                    raise Retryable(
                        f"{side.province}: {topic} is another topic now, its id {topic_id}", server=side.kafka
                    )
