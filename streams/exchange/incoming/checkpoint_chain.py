"""Checkpoint chain: decides, for one partition of one province's exchange, which messages may be applied.

Pure: no Kafka, no registry, no clock. The chain keeps messages until a verified checkpoint of their origin closes their
run; then it compares the run with the checkpoint. It releases a run that matches, in the origin's order. It drops a run
that does not match; the same messages may come once more. docs/decisions/045-anchors-and-gaps.md gives the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from schemas.exchange.topics import FIRST_HASH, RunHash

__all__ = [
    "ArrivedMessage",
    "Chain",
    "ChainAnchor",
    "ChainPlace",
    "CheckpointOutcome",
    "CheckpointResult",
    "note_of",
    "read_note",
]

MOST_MESSAGES, MOST_BYTES = 500_000, 128 << 20
"""Limits of the messages that are kept for a partition without a checkpoint; beyond them all are dropped."""

MOST_A_SECOND, _SLACK = 100_000, 3_600
"""Most offsets by which a province's log grows in a second, many times any publisher's rate; and the seconds by which
its clock may be ahead. A checkpoint beyond that is no honest log's: if it were applied, later honest ones would count
as repeated."""

_START = re.compile(r"^ start (\d{1,18})$")
_NOTE = re.compile(
    r"^ anchor (\S{1,40}) (\d{1,18}) (-1|\d{1,18}) ([0-9a-f]{64}) (\d{1,15}) (\d{1,18})(?: (\S{1,40}))?$"
)
_KEY_ID = re.compile(r"^\S{1,40}$")


@dataclass(frozen=True, slots=True)
class ArrivedMessage:
    """A message as it came through the link, with its offset in the origin's log and (`far_offset`) in the log here."""

    topic_id: str
    offset: int
    far_offset: int
    key: bytes
    headers: Sequence[tuple[str, bytes]]
    body: bytes
    """The Avro body."""
    says: Any = None
    """Its effect if its run is applied; the chain does not look at it."""
    unreadable: str | None = None
    """Why its content cannot be read, so that no run with it is believed."""


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """A checkpoint's place in the chain. The fields are Checkpoint.avsc's; `made_at` is in ms since 1970."""

    topic_id: str
    sequence: int
    predecessor: int
    predecessor_hash: str
    last_offset: int
    count: int
    hash: str
    made_at: int
    key_id: str = ""

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> ChainPlace:
        """Build it from a decoded checkpoint."""
        plain = {name: checkpoint[name] for name in cls.__slots__ if name != "made_at"}
        return cls(**plain, made_at=int(checkpoint["made_at"].timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """The last checkpoint whose run was applied: the next one must follow on it."""

    topic_id: str
    sequence: int
    last_offset: int
    """Of its run's last message: every message at or before it is known. The signature does not cover the checkpoint's
    own place, and a link that lies about it must not harm later runs."""
    hash: str
    made_at: int
    key_id: str = ""
    """Id of the key that signed it: an anchor of a compromised key holds nothing back. Empty: noted by an earlier
    version."""


def note_of(anchor: ChainAnchor | None, read_from: int) -> str:
    """Return the note that is committed with an offset: the anchor, and the offset from which to read on."""
    if anchor is None:
        return f" start {read_from}"
    known = (anchor.topic_id, anchor.sequence, anchor.last_offset, anchor.hash, anchor.made_at, read_from)
    # Key ids are short (schemas.exchange.keys.make_key). A long one is left out: here it cannot be found compromised.
    return " ".join((" anchor", *map(str, known), *((anchor.key_id,) if _KEY_ID.match(anchor.key_id) else ())))


def read_note(note: str) -> tuple[ChainAnchor | None, int] | None:
    """Parse a note; None if there is none, or it is incomplete."""
    if found := _START.match(note):
        return None, int(found[1])
    found = _NOTE.match(note)
    if found is None:
        return None
    topic_id, sequence, offset, digest, made_at, read_from, key_id = found.groups()
    return ChainAnchor(topic_id, int(sequence), int(offset), digest, int(made_at), key_id or ""), int(read_from)


class CheckpointOutcome(StrEnum):
    """Outcome of a checkpoint."""

    FOLLOWED = "followed"
    """The run is whole and follows on the last one: applied."""
    GAP = "gap"
    """The run is whole, but something before it never came: applied, and logged as an error."""
    REPEATED = "repeated"
    """It, or a newer one, was applied already: no effect."""
    BROKEN = "broken"
    """The messages are not its run: nothing is applied, and the same run may come again."""
    STALE = "stale"
    """It contradicts the anchor and is not newer: a replay, or an origin that published two histories. Nothing is
    applied."""


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """Outcome of a checkpoint, the reason, and the messages to apply, in the origin's order."""

    outcome: CheckpointOutcome
    why: str = ""
    messages: tuple[ArrivedMessage, ...] = ()

    @property
    def applied(self) -> bool:
        """Whether the run is applied."""
        return self.outcome in (CheckpointOutcome.FOLLOWED, CheckpointOutcome.GAP)


@dataclass(slots=True)
class Chain:
    """State of one partition of one province's exchange: the anchor, and the messages without a checkpoint."""

    anchor: ChainAnchor | None = None
    _open: dict[str, dict[int, ArrivedMessage]] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, message: ArrivedMessage) -> bool:
        """Keep a message until its checkpoint comes; return False if it was applied or kept before."""
        anchor = self.anchor
        if anchor is not None and message.topic_id == anchor.topic_id and message.offset <= anchor.last_offset:
            return False
        run = self._open.setdefault(message.topic_id, {})
        known = run.get(message.offset)
        # The later copy counts: a link delivers again the messages that it could not vouch for before.
        run[message.offset] = message
        self._bytes += len(message.body) - (0 if known is None else len(known.body))
        return known is None

    @property
    def overflows(self) -> bool:
        """Whether it keeps more messages than any run has."""
        return self._bytes > MOST_BYTES or sum(map(len, self._open.values())) > MOST_MESSAGES

    def forget(self) -> None:
        """Drop all messages that wait for a checkpoint."""
        self._open.clear()
        self._bytes = 0

    def read_from(self, next_offset: int) -> int:
        """Return the offset here from which a reader misses no kept message; `next_offset` is the reader's."""
        return min((message.far_offset for run in self._open.values() for message in run.values()), default=next_offset)

    def distrust(self) -> None:
        """Forget the anchor, whose key is compromised: the true province's checkpoints need not follow on it."""
        self.anchor = None

    def close(self, told: ChainPlace) -> CheckpointResult:
        """Compare the kept messages with a verified checkpoint of the province."""
        if why := self._leap(told):
            # As if it had not come: the messages that it claims to close are kept for the right checkpoint.
            return CheckpointResult(CheckpointOutcome.STALE, why)
        outcome, why = self._place(told)
        if outcome in (CheckpointOutcome.REPEATED, CheckpointOutcome.STALE):
            self._drop(told.topic_id, told.last_offset)
            return CheckpointResult(outcome, why)
        run = self._open.get(told.topic_id, {})
        messages = tuple(run[place] for place in sorted(run) if told.predecessor < place <= told.last_offset)
        fault = _fault(told, messages)
        self._drop(told.topic_id, told.last_offset)
        if fault:
            return CheckpointResult(CheckpointOutcome.BROKEN, fault)
        self.anchor = ChainAnchor(told.topic_id, told.sequence, told.last_offset, told.hash, told.made_at, told.key_id)
        for topic_id in [topic_id for topic_id in self._open if topic_id != told.topic_id]:
            self._drop(topic_id)
        return CheckpointResult(outcome, why, messages)

    def _place(self, told: ChainPlace) -> tuple[CheckpointOutcome, str]:
        """Return how a checkpoint relates to the anchor; only this function admits a new anchor."""
        anchor = self.anchor
        if anchor is None:
            if (told.sequence, told.predecessor, told.predecessor_hash) == (0, -1, FIRST_HASH):
                return CheckpointOutcome.FOLLOWED, ""
            return CheckpointOutcome.GAP, f"nothing before sequence {told.sequence} is known here"
        same_log, newer = told.topic_id == anchor.topic_id, told.made_at > anchor.made_at
        if same_log and (
            told.sequence < anchor.sequence or (told.sequence, told.hash) == (anchor.sequence, anchor.hash)
        ):
            return CheckpointOutcome.REPEATED, ""
        if same_log and told.sequence == anchor.sequence:
            return CheckpointOutcome.STALE, f"two different checkpoints have the sequence {told.sequence}"
        follows_on = (told.sequence, told.predecessor_hash) == (anchor.sequence + 1, anchor.hash)
        if same_log and follows_on and told.predecessor > anchor.last_offset and told.made_at >= anchor.made_at:
            return CheckpointOutcome.FOLLOWED, ""
        held = f"sequence {anchor.sequence} up to {anchor.last_offset} of the log {anchor.topic_id} is held"
        says = f"sequence {told.sequence} follows on {told.predecessor} of {told.topic_id}, and {held}"
        return (CheckpointOutcome.GAP, says) if newer else (CheckpointOutcome.STALE, f"{says}, which is not older")

    def _leap(self, told: ChainPlace) -> str:
        """Return why no log can have come so far since the anchor was made; empty if one can. Each checkpoint takes an
        offset, so sequences never outrun offsets."""
        if told.sequence > told.predecessor + 1:
            return f"sequence {told.sequence} stands behind offset {told.predecessor}: more checkpoints than offsets"
        held, since = (-1, 0) if self.anchor is None else (self.anchor.last_offset, self.anchor.made_at)
        most = held + (max(0, told.made_at - since) // 1000 + _SLACK) * MOST_A_SECOND
        if max(told.predecessor, told.last_offset) > most:
            return f"offset {told.last_offset} is a leap beyond {most}"
        return ""

    def _drop(self, topic_id: str, up_to: int | None = None) -> None:
        """Drop the kept messages of a log: all of them, or up to an offset."""
        run = self._open.pop(topic_id, {})
        left = {place: message for place, message in run.items() if up_to is not None and place > up_to}
        if left:
            self._open[topic_id] = left
        self._bytes = sum(len(message.body) for kept in self._open.values() for message in kept.values())


def _fault(told: ChainPlace, messages: Sequence[ArrivedMessage]) -> str:
    """Return why these messages are not the run that the checkpoint closes; empty if they are."""
    if len(messages) != told.count:
        return f"{told.count} messages were told, {len(messages)} came"
    last = messages[-1].offset if messages else told.predecessor
    if last != told.last_offset:
        return f"the last message was told at {told.last_offset} and came at {last}"
    for message in messages:
        if message.unreadable is not None:
            return f"{message.offset}: {message.unreadable}"
    try:
        sums = RunHash(told.predecessor_hash)
    except ValueError:
        return "the predecessor's hash is none"
    for message in messages:
        sums.add(message.offset, message.key, message.headers, message.body)
    return "" if sums.hexdigest() == told.hash else "the hash differs"
