"""Receiving stage of the exchange: verifies other provinces' messages run by run, on their way to `accepted`.

The intake worker's work on `exchange.<other province>`, in two steps like streams.intake.stage.IntakeStage. Nothing is
applied before the checkpoint that closes its run matches (checkpoint_chain.py); then each statement goes to `accepted`
if its province may publish it (entitlement.py), else to quarantine. It delivers first and commits after: a crash
forwards some messages twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from schemas.catalogue import Catalogue
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Keyring
from schemas.exchange.topics import exchange_topic
from streams.exchange.incoming.checkpoint_chain import ArrivedMessage, Chain, note_of, read_note
from streams.exchange.incoming.entitlement import Entitlement
from streams.exchange.incoming.examination import Doubt, MessageExaminer, QuarantineMessage, Step
from streams.exchange.incoming.recorder import ReceivingRecorder
from streams.forwarding.forwarder import Forwards, Outgoing
from streams.kafka.headers import SIGNED
from streams.kafka.records import Run
from streams.monitoring.instruments import Instruments
from streams.runtime.collector import Reread
from streams.runtime.crash_points import crash_point

__all__ = ["Received", "ReceivingStage"]

Place = tuple[str, int]


@dataclass(slots=True)
class Received:
    """Examined runs: a step for each of their records, and the decision once it is made."""

    runs: tuple[Run, ...]
    steps: tuple[tuple[Step, ...], ...]
    decided: _Decided | None = None


@dataclass(slots=True)
class _Decided:
    accept: list[Outgoing] = field(default_factory=list)
    refuse: list[QuarantineMessage] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    """State of one partition here: the chain, the reader's offset, and the note to commit with each offset."""

    chain: Chain
    next_offset: int
    notes: list[tuple[int, str]] = field(default_factory=list)


class ReceivingStage:
    """The work on other provinces' exchanges: `prepare` reads and examines, `finish` decides and writes.

    `provinces` are the others; `now` is the clock, in UTC. After a restart it goes on from the note that was committed
    with the offset (`note`), so it needs no database.
    """

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        provinces: Sequence[str],
        keyring: Keyring,
        forwarder: Forwards,
        *,
        recorder: ReceivingRecorder | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._forwarder, self._keyring = forwarder, keyring
        self._recorder = recorder or ReceivingRecorder(Instruments("intake"), provinces)
        self._provinces = {exchange_topic(one): one for one in provinces}
        self._examining = {
            topic: MessageExaminer(
                registry,
                keyring,
                one,
                Entitlement(catalogue, one, partitions=forwarder.accepted_partitions, now=now),
                now,
            )
            for topic, one in self._provinces.items()
        }
        self._readings: dict[Place, _Reading] = {}
        # The positions' thread may go back while the thread of `finish` is still at work.
        self._lock = threading.Lock()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that it works on."""
        return tuple(self._provinces)

    def prepare(self, runs: Sequence[Run]) -> Received:
        """Decode and examine. Raises Retryable if the registry does not answer."""
        return Received(tuple(runs), tuple(self._examining[run.topic].steps(run) for run in runs))

    def check(self, received: Received) -> None:
        """Raise Reread if a run does not follow on the last one: it was fetched before the reader went back."""
        again: dict[Place, int] = {}
        with self._lock:
            reached: dict[Place, int] = {}
            for run in received.runs:
                place = (run.topic, run.partition)
                known = self._readings.get(place)
                standing = reached.get(place, run.expected_offset if known is None else known.next_offset)
                if run.expected_offset > standing:
                    again[place] = standing
                reached[place] = max(standing, run.next_offset)
        if again and received.decided is None:
            raise Reread(again)

    def finish(self, received: Received) -> None:
        """Compare the runs with their checkpoints and forward those that match; return once the broker has everything.

        Raises Retryable if Kafka does not answer; the same runs may then be given again.
        """
        self.check(received)
        if received.decided is None:
            with self._lock:
                received.decided = self._decide(received)
        decided = received.decided
        if not decided.accept and not decided.refuse:
            return
        self._forwarder.accept(decided.accept)
        for refused in decided.refuse:
            self._forwarder.quarantine(refused.value, refused.headers)
        crash_point("exchange.forwarding")
        self._forwarder.flush()
        crash_point("exchange.forwarded")
        self._recorder.applied(decided.accepted, decided.refused)

    def __call__(self, runs: Sequence[Run]) -> None:
        """Do both steps."""
        self.finish(self.prepare(runs))

    def resumed(self, place: Place, next_offset: int, note: str, *, first: int = 0) -> int:
        """Go on in a partition from the committed note; return the offset to read from.

        A run that had begun before the commit is read again from its beginning, as far as the log still has it
        (`first`).
        """
        anchor, read_from = read_note(note) or (None, next_offset)
        read_from = max(first, min(read_from, next_offset))
        with self._lock:
            self._readings[place] = _Reading(Chain(anchor), read_from, [(0, note_of(anchor, read_from))])
        return read_from

    def note(self, place: Place, offset: int) -> str:
        """Return the note to commit with an offset, so that `resumed` can go on from it."""
        with self._lock:
            reading = self._readings.get(place)
            if reading is None:
                return ""
            while len(reading.notes) > 1 and reading.notes[1][0] <= offset:
                del reading.notes[0]
            return reading.notes[0][1] if reading.notes and reading.notes[0][0] <= offset else ""

    def _decide(self, received: Received) -> _Decided:
        decided = _Decided()
        for run, steps in zip(received.runs, received.steps, strict=True):
            place = (run.topic, run.partition)
            reading = self._readings.setdefault(place, _Reading(Chain(), run.expected_offset))
            province, chain = self._provinces[run.topic], reading.chain
            if chain.anchor is not None and self._keyring.compromised(province, chain.anchor.key_id):
                chain.distrust()
            for record, step in zip(run.records, steps, strict=True):
                if record.offset >= reading.next_offset:
                    self._step(chain, province, run.partition, step, decided)
            reading.next_offset = max(reading.next_offset, run.next_offset)
            note = note_of(reading.chain.anchor, reading.chain.read_from(reading.next_offset))
            reading.notes.append((reading.next_offset, note))
        return decided

    def _step(self, chain: Chain, province: str, partition: int, step: Step, decided: _Decided) -> None:
        if isinstance(step, Doubt):
            self._recorder.not_believed(province, partition, step.why)
            return
        if isinstance(step, ArrivedMessage):
            chain.take(step)
            if chain.overflows:
                chain.forget()
                self._recorder.not_believed(province, partition, "more came without a checkpoint than any run has")
            return
        closed = chain.close(step.told)
        self._recorder.closed(province, partition, step.told.sequence, closed.outcome, closed.why)
        if not closed.applied:
            return
        for message in closed.messages:
            if isinstance(message.says, QuarantineMessage):
                decided.refuse.append(message.says)
                decided.refused.append(province)
            else:
                partition, key, value, headers = message.says
                decided.accept.append((partition, key, value, [*headers, (SIGNED, step.told.key_id.encode())]))
                decided.accepted.append(province)
        decided.accept.append(step.outgoing)
        decided.accepted.append(province)
