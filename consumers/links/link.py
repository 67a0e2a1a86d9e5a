"""A push link: copies this province's exchange and status topics to one peer as long as it runs.

Its failure handling, in one place. If a server does not answer, it retries for ever, with capped back-off. If the peer
refuses a message permanently, its partition is held there, so that no message is skipped, while the others go on. If
the own retention has deleted messages before the peer had them, it writes an event and logs it, and goes on behind the
gap.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic, time

import structlog
from confluent_kafka import KafkaException

from consumers.links.clusters import PartitionRange, Place, Start, sides, starts
from consumers.links.events import GAP, HELD, RENEWED, WENT_ON, Events
from consumers.links.metrics import LinkMetrics
from consumers.links.progress import LinkProgress
from consumers.links.schema_ids import Translation
from consumers.links.session import Session
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, XinliuError
from schemas.exchange.topics import exchange_topic, status_topic
from schemas.servers.connection import Connection

__all__ = ["HeldPartition", "Link", "LinkState"]

log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
"""Seconds between two attempts."""
_FIRST_HOLD, _LONGEST_HOLD = 5.0, 60.0
"""Seconds until a refused message is sent again: a limit raised at the peer takes effect without notice."""


@dataclass(slots=True)
class HeldPartition:
    """A partition held at a message: its offset in the own log, and the peer's reason."""

    offset: int
    why: str
    since: float = field(default_factory=time)
    """Unix time."""
    pause: float = _FIRST_HOLD
    again_at: float = field(default_factory=monotonic)


@dataclass(frozen=True, slots=True)
class LinkState:
    """The current state of a link."""

    peer: str
    copies: bool
    lag_messages: int
    lag_seconds: float
    held: Mapping[Place, HeldPartition]
    last_error: str | None
    """The error of the last attempt; None if there was none, or the link copies again."""


class Link:
    """One ordered pair (own → peer). `run` copies until `stop`, and returns; only a bug ends it otherwise.

    `connection` is that of the own province with the link's principal; `to` a peer of its `exchange`. `metrics` may be
    shared by all links of a process. Raises UsageError if there is no such peer.
    """

    def __init__(self, connection: Connection, to: str, *, metrics: LinkMetrics | None = None) -> None:
        self.peer = to
        self._own, self._far = sides(connection, to)
        assert connection.exchange is not None
        self._registries = connection.registry, connection.exchange.peers[to].registry
        self.topics = exchange_topic(connection.province), status_topic(connection.province)
        self.metrics = metrics or LinkMetrics()
        self.progress = LinkProgress()
        self._events = Events(connection, to)
        self._stopped = threading.Event()
        self._held: dict[Place, HeldPartition] = {}
        self._suspects: dict[Place, int] = {}
        """A refused message is before this offset: the messages up to it are sent singly, to find it."""
        self._far_ids: dict[Place, str] = {}
        self._renewing: set[Place] = set()
        """Far partitions created anew while this link ran. The old producer may still have written messages there that
        are not behind all earlier ones, so the link pushes from the beginning, whatever the last message is.
        """
        self._told_gaps: set[tuple[Place, int]] = set()
        self._copies = self._singly = False
        self._last_error: str | None = None
        for metric in (self.metrics.sent, self.metrics.bytes, self.metrics.gaps, self.metrics.seconds):
            for topic in self.topics:
                metric.labels(to, topic)
        for server in (self._own.kafka, self._own.registry, self._far.kafka, self._far.registry):
            self.metrics.retries.labels(to, server)
        self.metrics.before_each_look(self._show)

    def stop(self) -> None:
        """End `run`; from any thread."""
        self._stopped.set()

    @property
    def state(self) -> LinkState:
        """The current state."""
        messages, seconds = self.progress.lag()
        return LinkState(self.peer, self._copies, messages, seconds, dict(self._held), self._last_error)

    def run(self) -> None:
        """Copy until stopped. If a server does not answer, retry for ever."""
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            begun = monotonic()
            try:
                self._try()
                pause = _FIRST_PAUSE
            except (XinliuError, KafkaException) as error:
                if monotonic() - begun > _LONGEST_PAUSE:
                    pause = _FIRST_PAUSE
                self._failed(error, pause)
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        self._events.close()

    def _failed(self, error: Exception, pause: float) -> None:
        server = error.server if isinstance(error, Retryable) else self._far.kafka
        self._last_error = str(error)
        self.metrics.retries.labels(self.peer, server).inc()
        log.warning("link.waits", peer=self.peer, why=self._last_error, next_try_in_seconds=pause)
        try:
            for place, known in self._own.logs(self.topics).items():
                self.progress.ends(place, known.end)
        except XinliuError:
            pass  # the own cluster is away: the lag stays as last known, and its seconds grow

    def _try(self) -> None:
        """Run one session, from reading the start to its end."""
        own, far = self._own.logs(self.topics), self._far.logs(self.topics)
        self._events.catch_up()
        begins = self._begins(own, starts(own, far, self._far.last_of_links(far)), far)
        if not begins:
            self._stopped.wait(_FIRST_HOLD)
            return
        due = {place: held for place, held in self._held.items() if place in begins}
        self._suspects.update({place: held.offset + 1 for place, held in due.items()})
        with ExitStack() as closing:
            registries = Registry(self._registries[0]), Registry(self._registries[1])
            translation = Translation(*registries, names=(self._own.registry, self._far.registry))
            closing.callback(translation.close)
            self._singly = bool(self._suspects)
            session = Session(
                self._own, self._far, begins, {topic: known.topic_id for (topic, _), known in far.items()},
                translation, self.progress, self.metrics, self._refused, singly=self._singly,
            )  # fmt: skip
            self._copies, self._last_error = True, None
            log.info("link.copies", peer=self.peer, singly=self._singly)
            ended: XinliuError | None = None
            held = {place: known.again_at for place, known in self._held.items()}
            try:
                session.copy(self._ends_session)
            except XinliuError as error:
                ended = error
            finally:
                self._copies = False
                session.close()
                self._renewing -= {place for place, (_, at) in begins.items() if self.progress.next_of(place) > at}
            if ended is None:
                return
            found = held != {place: known.again_at for place, known in self._held.items()}
            if not session.fell_short or (self._singly and not found):
                raise ended
            self._look_for_it(begins)

    def _begins(
        self, own: Mapping[Place, PartitionRange], found: Mapping[Place, Start], far: Mapping[Place, PartitionRange]
    ) -> dict[Place, tuple[str, int]]:
        """Return topic id and offset for each partition that can be copied now; write events of gaps and renewals."""
        begins: dict[Place, tuple[str, int]] = {}
        for place, told in found.items():
            start, far_id = told, far[place].topic_id
            if self._far_ids.setdefault(place, far_id) != far_id:
                self._far_ids[place] = far_id
                self._renewing.add(place)
                self._alarm(RENEWED, place, own[place].first, f"{self.peer} made {place[0]} anew")
            if place in self._renewing:
                start = Start(own[place].first)
            if start.lost is not None:
                self._hold(place, start.offset, start.lost)
                continue
            self._tell(place, start)
            self.progress.begins(place, start.offset, own[place].end, start.as_of)
            held = self._held.get(place)
            if held is not None and start.offset > held.offset:
                self._goes_on(place)
            elif held is not None and held.again_at > monotonic():
                continue
            begins[place] = own[place].topic_id, start.offset
        return begins

    def _tell(self, place: Place, start: Start) -> None:
        if start.renewed is not None:
            self._alarm(RENEWED, place, start.offset, start.renewed)
        if start.gap is not None and (place, start.gap[0]) not in self._told_gaps:
            self._told_gaps.add((place, start.gap[0]))
            why = f"the own log no longer holds {start.gap[0]} to {start.gap[1] - 1}, which {self.peer} never had"
            self._alarm(GAP, place, start.offset, why)

    def _alarm(self, kind: str, place: Place, offset: int, why: str) -> None:
        log.error("link.gap", peer=self.peer, topic=place[0], partition=place[1], goes_on_at=offset, why=why)
        self.metrics.gaps.labels(self.peer, place[0]).inc()
        self._events.write(kind, place, offset, why)

    def _refused(self, place: Place, offset: int, why: str) -> None:
        self._hold(place, offset, f"{self.peer} refuses it: {why}")

    def _hold(self, place: Place, offset: int, why: str) -> None:
        self._suspects.pop(place, None)
        known = self._held.get(place)
        if known is None or known.offset != offset or known.why != why:
            log.error("link.stands", peer=self.peer, topic=place[0], partition=place[1], offset=offset, why=why)
            self._events.write(HELD, place, offset, why)
            known = HeldPartition(offset, why)
        else:
            known.pause = min(known.pause * 2, _LONGEST_HOLD)
        known.again_at = monotonic() + known.pause
        self._held[place] = known

    def _goes_on(self, place: Place) -> None:
        held = self._held.pop(place)
        log.info("link.goes_on", peer=self.peer, topic=place[0], partition=place[1], behind=held.offset)
        self._events.write(WENT_ON, place, held.offset, "the message was taken")

    def _look_for_it(self, places: Iterable[Place]) -> None:
        """Have the messages on their way sent singly, unless the session already knows which message is refused."""
        for place in places:
            if place not in self._held and self.progress.next_of(place) < self.progress.handed_of(place):
                self._suspects[place] = self.progress.handed_of(place)
        log.warning("link.looks_for_refused", peer=self.peer, partitions=len(self._suspects))

    def _ends_session(self) -> bool:
        if self._stopped.is_set():
            return True
        for place, following in tuple(self._suspects.items()):
            if self.progress.next_of(place) >= following:
                del self._suspects[place]
                if place in self._held:
                    self._goes_on(place)
        if self._singly and not self._suspects:
            return True  # back to whole batches
        now = monotonic()
        return any(held.again_at <= now for place, held in self._held.items() if place not in self._suspects)

    def _show(self) -> None:
        for topic in self.topics:
            places = [place for place in self.progress.places if place[0] == topic]
            messages, seconds = self.progress.lag(places)
            self.metrics.lag.labels(self.peer, topic).set(messages)
            self.metrics.lag_seconds.labels(self.peer, topic).set(seconds)
            self.metrics.held.labels(self.peer, topic).set(sum(place in self._held for place in places))
        self.metrics.up.labels(self.peer).set(float(self._copies))

    def __repr__(self) -> str:
        return f"Link({self._own.province!r} → {self.peer!r})"
