"""Verification of one chain of xinliu.audit: against itself, its topic event by event, and its anchored heads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.operations.log import TOPIC
from streams.audit.chain import HEAD, UNREADABLE, AuditEntry, AuditEvent, beginning_of
from streams.audit.log import OperationMessage

__all__ = ["FINDINGS", "AuditFinding", "AuditHead", "AuditVerdict", "anchors_of", "verify"]


FINDINGS = (
    "CHANGED", "REMOVED", "INSERTED", "REORDERED", "MISSING", "HEAD_DIFFERS", "EVIDENCE_GONE", "UNAPPROVED",
)  # fmt: skip
"""Kinds of findings (docs/audit.md)."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One fault. `what` is CHANGED, REMOVED, INSERTED, REORDERED, MISSING (at the end), HEAD_DIFFERS, EVIDENCE_GONE
    (the topic no longer holds the events of the entries) or UNAPPROVED (done without a second person)."""

    what: str
    sequence: int
    """Sequence number of the first entry with the fault."""
    offset: int | None
    event_id: str | None
    text: str
    topic: str = TOPIC


@dataclass(slots=True)
class AuditVerdict:
    """The result: the chain is sound if there are no findings."""

    entries: int = 0
    heads: int = 0
    """Anchored heads that were compared with the chain."""
    anchored: int = 0
    """The last entry that an anchored head covers."""
    waiting: int = 0
    """Events that the audit has not taken over yet, and that no head claims to cover."""
    disbelieved: int = 0
    """Events whose author may not write them, or that bore another's name: they have no effect."""
    findings: list[AuditFinding] = field(default_factory=list)
    topic: str = TOPIC

    def add(self, other: AuditVerdict) -> None:
        """Add the result of another chain."""
        for name in ("entries", "heads", "anchored", "waiting", "disbelieved"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings += other.findings

    def find(self, what: str, sequence: int, event: AuditEvent | None, text: str) -> None:
        """Add a finding."""
        offset, event_id = (None, None) if event is None else (event.offset, event.event_id or None)
        self.findings.append(AuditFinding(what, sequence, offset, event_id, text, self.topic))


@dataclass(frozen=True, slots=True)
class AuditHead:
    """A head in the topic: its claim that the chain had this entry with this hash."""

    sequence: int
    hash: str
    offset: int
    """The head's own offset in the topic."""
    by: str


def verify(
    rows: Sequence[AuditEntry],
    messages: Sequence[OperationMessage],
    *,
    topic_id: str,
    first: int,
    anchored_before: int | None = None,
    topic: str = TOPIC,
    anchors: Sequence[AuditHead] | None = None,
) -> AuditVerdict:
    """Return the faults of a chain, in the order of the first entry that each concerns.

    `rows` are the table's, by sequence; `messages` are all that the topic with that id holds from its `first` offset
    on. Heads at `anchored_before` or behind it may cover entries younger than `rows`. `anchors` are the heads of this
    chain, if they stand in another topic than its own.
    """
    verdict = AuditVerdict(entries=len(rows), topic=topic)
    anchors = anchors_of(messages) if anchors is None else anchors
    beginning = beginning_of(topic)
    old = _older_than_the_topic(rows, topic_id, first)
    if old:
        gone = rows[old - 1].event
        why = "the topic was made anew since" if gone.topic_id != topic_id else f"the topic begins at {first} now"
        verdict.find(
            "EVIDENCE_GONE", rows[0].sequence, rows[0].event, f"{old} entries can be held against no event: {why}"
        )
    elif first > 0:
        verdict.find(
            "EVIDENCE_GONE",
            1,
            None,
            f"the topic begins at {first}: what stood before is gone, and no entry tells of it",
        )
    if not _itself(rows[:old], verdict, beginning):
        return verdict
    held = _against_topic(rows, old, messages, verdict, beginning)
    _against_anchors(rows, held, anchors, verdict, anchored_before)
    return verdict


def _older_than_the_topic(rows: Sequence[AuditEntry], topic_id: str, first: int) -> int:
    found = 0
    for number, row in enumerate(rows, 1):
        if row.event.topic_id != topic_id or row.event.offset < first:
            found = number
    # An entry of another topic in the midst of this topic's entries was inserted: it is none of the old ones.
    return found if all(r.event.topic_id != topic_id or r.event.offset < first for r in rows[:found]) else 0


def _itself(rows: Sequence[AuditEntry], verdict: AuditVerdict, beginning: str) -> bool:
    """Verify entries against the chain alone."""
    previous, expected = beginning, 1
    for row in rows:
        if row.sequence != expected:
            verdict.find("REMOVED", expected, None, f"entry {expected} is not there, entry {row.sequence} is")
            return False
        if row.previous != previous or not row.whole:
            what = (
                "is chained to another entry than the one before"
                if row.previous != previous
                else "has not the hash it must have"
            )
            verdict.find("CHANGED", row.sequence, row.event, f"entry {row.sequence} {what}")
            return False
        previous, expected = row.hash, expected + 1
    return True


def _against_topic(
    rows: Sequence[AuditEntry], old: int, messages: Sequence[OperationMessage], verdict: AuditVerdict, beginning: str
) -> int:
    """Verify the entries behind the old ones against their events; return the number of right entries."""
    where = {message.event.offset: number for number, message in enumerate(messages)}
    in_table = {
        row.event.offset for row in rows[old:] if row.event.topic_id in {m.event.topic_id for m in messages[:1]}
    }
    previous = rows[old - 1].hash if old else beginning
    number = old
    for at, message in enumerate(messages):
        expected = number + 1
        if number >= len(rows):
            verdict.waiting = len(messages) - at
            return number
        row, event = rows[number], message.event
        if row.event.offset != event.offset or row.event.topic_id != event.topic_id:
            place = where.get(row.event.offset) if row.event.topic_id == event.topic_id else None
            if place is None or place < at:
                verdict.find(
                    "INSERTED", row.sequence, row.event, f"no event of the topic stands behind entry {row.sequence}"
                )
            elif event.offset in in_table:
                verdict.find(
                    "REORDERED", expected, event,
                    f"entry {expected} must be the event at {event.offset}, and is the one at {row.event.offset}",
                )  # fmt: skip
            else:
                verdict.find(
                    "REMOVED", expected, event, f"the entry of the event at {event.offset} ({event.kind}) is not there"
                )
            return number
        if row.sequence != expected:
            verdict.find(
                "REORDERED",
                row.sequence,
                event,
                f"the event at {event.offset} must be entry {expected}, and is {row.sequence}",
            )
            return number
        differing = _differing(row.event, message)
        if differing:
            verdict.find(
                "CHANGED",
                row.sequence,
                event,
                f"{', '.join(differing)} of entry {row.sequence}: not what the event says",
            )
            return number
        if row.previous != previous or not row.whole:
            what = "it is chained to another entry" if row.previous != previous else "its hash does not follow from it"
            verdict.find("CHANGED", row.sequence, event, f"entry {row.sequence} says what the event says, but {what}")
            return number
        previous, number = row.hash, expected
    if number < len(rows):
        row = rows[number]
        verdict.find("INSERTED", row.sequence, row.event, f"no event of the topic stands behind entry {row.sequence}")
    return number


def _differing(held: AuditEvent, message: OperationMessage) -> list[str]:
    if message.event.kind == UNREADABLE and held.kind != UNREADABLE:
        # The registry has forgotten the schema: only the bytes can be compared.
        return [] if held.message == message.event.message else ["message"]
    return [] if held == message.unreadable else held.differing(message.event)


def _against_anchors(
    rows: Sequence[AuditEntry],
    held: int,
    anchors: Iterable[AuditHead],
    verdict: AuditVerdict,
    anchored_before: int | None,
) -> None:
    """Verify the entries against every head in the topic: the table may neither end before one nor differ from it."""
    found_already = bool([f for f in verdict.findings if f.what != "EVIDENCE_GONE"])
    for anchor in anchors:
        verdict.heads += 1
        if anchor.sequence <= len(rows):
            # A fault found in an earlier entry explains a head behind it.
            if rows[anchor.sequence - 1].hash == anchor.hash:
                verdict.anchored = max(verdict.anchored, min(anchor.sequence, held))
            elif not found_already:
                row = rows[anchor.sequence - 1]
                verdict.find(
                    "HEAD_DIFFERS", anchor.sequence, row.event,
                    f"the head at {anchor.offset} of the topic, by {anchor.by}, has another hash for entry {anchor.sequence} than the table",
                )  # fmt: skip
                found_already = True
        elif not found_already and (anchored_before is None or anchor.offset < anchored_before):
            verdict.find(
                "MISSING", len(rows) + 1, None,
                f"the table ends at entry {len(rows)}, and was at {anchor.sequence} once (the head at {anchor.offset}): it was cut,"
                " or put back to an older backup, and a view worker brings it up to date",
            )  # fmt: skip
            found_already = True


def anchors_of(messages: Iterable[OperationMessage], topic: str = TOPIC) -> list[AuditHead]:
    """Return the heads of a topic's chain among these messages, which come from the topic of the heads."""
    found = []
    for message in messages:
        if message.event.kind != HEAD:
            continue
        detail: Mapping[str, Any] = json.loads(message.event.detail)
        sequence, digest = detail.get("sequence"), detail.get("hash")
        if (
            detail.get("topic", TOPIC) == topic
            and isinstance(sequence, int)
            and sequence > 0
            and isinstance(digest, str)
        ):
            found.append(AuditHead(sequence, digest, message.event.offset, message.event.by))
    return found
