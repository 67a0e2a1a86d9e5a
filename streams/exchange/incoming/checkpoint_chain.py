"""Checkpoints and what they close: decides, for one partition of one province's exchange, which messages may be applied.

Pure: no Kafka, no registry, no clock. Messages are kept until a checkpoint of their origin, which was found to be its word,
closes their run; then the run is held against it. What holds is released, in the origin's order; what does not is dropped, and
the same messages may come once more. docs/decisions/045-anchors-and-gaps.md says why.
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
"""How much is kept of a partition without a checkpoint; a province that goes on beyond it is not listened to."""

MOST_A_SECOND, _SLACK = 100_000, 3_600
"""How many offsets a province's log grows by in a second at most, many times what any publisher writes; and the seconds
by which its clock may be ahead. A checkpoint beyond that is no honest log's, and a later honest one would be taken for
known."""

_START = re.compile(r"^ start (\d{1,18})$")
_NOTE = re.compile(
    r"^ anchor (\S{1,40}) (\d{1,18}) (-1|\d{1,18}) ([0-9a-f]{64}) (\d{1,15}) (\d{1,18})(?: (\S{1,40}))?$"
)
_KEY_ID = re.compile(r"^\S{1,40}$")


@dataclass(frozen=True, slots=True)
class ArrivedMessage:
    """A message as it came through the link, and where it stands in the origin's log and in the log here."""

    topic_id: str
    offset: int
    far_offset: int
    key: bytes
    headers: Sequence[tuple[str, bytes]]
    body: bytes
    """The Avro body."""
    says: Any = None
    """What is to be done with it where its run is applied; the chain does not look at it."""
    unreadable: str | None = None
    """Why nobody can tell what it says, so that no run with it is believed."""


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """What a checkpoint says of its place in the chain; the fields are Checkpoint.avsc's, `made_at` in ms since 1970."""

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
        """Take it from a decoded checkpoint."""
        plain = {name: checkpoint[name] for name in cls.__slots__ if name != "made_at"}
        return cls(**plain, made_at=int(checkpoint["made_at"].timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """The last checkpoint whose run was applied: what the next one must follow on."""

    topic_id: str
    sequence: int
    last_offset: int
    """Of its run's last message: whatever stands at or before it is known. The checkpoint's own place is not under its
    signature, and a link that lies about it must not harm what comes behind."""
    hash: str
    made_at: int
    key_id: str = ""
    """Whose signature it bears: an anchor of a key that is compromised holds nothing back. Empty: noted by an
    earlier version."""


def note_of(anchor: ChainAnchor | None, read_from: int) -> str:
    """Return what is committed with an offset, so that whoever goes on knows it: the anchor, and where to read from."""
    if anchor is None:
        return f" start {read_from}"
    known = (anchor.topic_id, anchor.sequence, anchor.last_offset, anchor.hash, anchor.made_at, read_from)
    # Key ids are short (schemas.exchange.keys.make_key); one that is not is left out, and cannot be found compromised here.
    return " ".join((" anchor", *map(str, known), *((anchor.key_id,) if _KEY_ID.match(anchor.key_id) else ())))


def read_note(note: str) -> tuple[ChainAnchor | None, int] | None:
    """Read a note back; None where there is none, or not a whole one."""
    if found := _START.match(note):
        return None, int(found[1])
    found = _NOTE.match(note)
    if found is None:
        return None
    topic_id, sequence, offset, digest, made_at, read_from, key_id = found.groups()
    return ChainAnchor(topic_id, int(sequence), int(offset), digest, int(made_at), key_id or ""), int(read_from)


class CheckpointOutcome(StrEnum):
    """What came of a checkpoint."""

    FOLLOWED = "followed"
    """The run is whole and follows on the last one: applied."""
    GAP = "gap"
    """The run is whole, and something before it never came: applied, and loud."""
    REPEATED = "repeated"
    """It was applied already, or something newer was: nothing happens."""
    BROKEN = "broken"
    """The messages are not the ones it closes: nothing is applied, and the same run may come again."""
    STALE = "stale"
    """It contradicts what is known and is not newer: a replay, or an origin that told two stories. Nothing is applied."""


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """What came of a checkpoint, why, and the messages that may be applied, in the origin's order."""

    outcome: CheckpointOutcome
    why: str = ""
    messages: tuple[ArrivedMessage, ...] = ()

    @property
    def applied(self) -> bool:
        """Whether the run counts."""
        return self.outcome in (CheckpointOutcome.FOLLOWED, CheckpointOutcome.GAP)


@dataclass(slots=True)
class Chain:
    """One partition of one province's exchange, as far as it is known here."""

    anchor: ChainAnchor | None = None
    _open: dict[str, dict[int, ArrivedMessage]] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, message: ArrivedMessage) -> bool:
        """Keep a message until its checkpoint comes; false where it was applied already, or is kept already."""
        anchor = self.anchor
        if anchor is not None and message.topic_id == anchor.topic_id and message.offset <= anchor.last_offset:
            return False
        run = self._open.setdefault(message.topic_id, {})
        known = run.get(message.offset)
        # The later one counts: what a link delivers again is what it could not vouch for before.
        run[message.offset] = message
        self._bytes += len(message.body) - (0 if known is None else len(known.body))
        return known is None

    @property
    def overflows(self) -> bool:
        """Whether more is kept than any run has."""
        return self._bytes > MOST_BYTES or sum(map(len, self._open.values())) > MOST_MESSAGES

    def forget(self) -> None:
        """Drop all that waits for a checkpoint."""
        self._open.clear()
        self._bytes = 0

    def read_from(self, next_offset: int) -> int:
        """Return from where the log here must be read so that nothing that is kept is missed; `next_offset`: the reader's."""
        return min((message.far_offset for run in self._open.values() for message in run.values()), default=next_offset)

    def distrust(self) -> None:
        """Forget the anchor, whose key is compromised: what the true province says need not follow on it."""
        self.anchor = None

    def close(self, told: ChainPlace) -> CheckpointResult:
        """Hold what is kept against a checkpoint, which was found to be its province's word."""
        if why := self._leap(told):
            # As if it had not come: what it claims to close is kept for who closes it.
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
        """Where a checkpoint stands to the anchor; what may be a new anchor is decided here and nowhere else."""
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
        """Say why no log can have come so far since the anchor was made; empty where one can. Each checkpoint takes an
        offset, so that sequences never outrun offsets."""
        if told.sequence > told.predecessor + 1:
            return f"sequence {told.sequence} stands behind offset {told.predecessor}: more checkpoints than offsets"
        held, since = (-1, 0) if self.anchor is None else (self.anchor.last_offset, self.anchor.made_at)
        most = held + (max(0, told.made_at - since) // 1000 + _SLACK) * MOST_A_SECOND
        if max(told.predecessor, told.last_offset) > most:
            return f"offset {told.last_offset} is a leap beyond {most}"
        return ""

    def _drop(self, topic_id: str, up_to: int | None = None) -> None:
        """Forget what is kept of a log: all of it, or up to an offset."""
        run = self._open.pop(topic_id, {})
        left = {place: message for place, message in run.items() if up_to is not None and place > up_to}
        if left:
            self._open[topic_id] = left
        self._bytes = sum(len(message.body) for kept in self._open.values() for message in kept.values())


def _fault(told: ChainPlace, messages: Sequence[ArrivedMessage]) -> str:
    """Say why these messages are not the run that the checkpoint closes; empty where they are."""
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
