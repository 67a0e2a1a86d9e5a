"""Answers to a province whose copy of one of our sets differs: the records in the differing buckets, pushed again.

The question is in the other province's status. The answer goes along with a round of the publisher, in the snapshot of
its checkpoint: a SharedSet that names every record that we share in these buckets, and behind it all their statements
with the header MEND. Large sets go in portions, one each round, so that new statements are not delayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import structlog

from schemas.contracts.codec import encode_own
from schemas.exchange.topics import EPOCH, EXCHANGE_PARTITIONS, KNOWN, MEND
from schemas.records.identity import accepted_key
from schemas.store.sql_files import sql
from streams.exchange.carried.riders import OutgoingMessage
from streams.exchange.sets.buckets import differing, is_complete, packed

__all__ = ["CONTRACT", "SetAnswers", "note_wanted"]

CONTRACT: Final = "xinliu.SharedSet"
STATEMENT: Final = "xinliu.Statement"

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]

LINES = 2_000
"""Records that a portion names, approximately: a message of some 170 kB, and as many statements."""
PAUSE = timedelta(seconds=8)
"""For this long after an answer the same question counts as a repetition: a status is published every few seconds."""


def note_wanted(connection: Connection, asked_by: str, _told_at: datetime, sets: Sequence[Mapping[str, Any]]) -> None:
    """Store another province's questions from its status, in the caller's transaction; log and skip malformed ones."""
    for one in sets:
        if not is_complete(one["bits"], one["digests"]) or not 0 <= one["partition"] < EXCHANGE_PARTITIONS:
            log.error("exchange.no_question", asked_by=asked_by, partition=one["partition"], bits=one["bits"])
            continue
        values = {
            "asked_by": asked_by,
            "pause": PAUSE,
            **{k: one[k] for k in ("partition", "domain", "bits", "digests")},
        }
        if connection.execute(sql("exchange/sets/wanted"), values).rowcount:
            log.warning("exchange.wanted", asked_by=asked_by, partition=one["partition"], domain=one["domain"])


class SetAnswers:
    """Rider of answers (streams.exchange.carried.riders.Rider): one portion of one question each round."""

    def __init__(self, province: str, *, lines: int = LINES) -> None:
        self._province, self._lines = province, lines

    def due(self, connection: Connection) -> Sequence[OutgoingMessage]:
        """Return the next portion; nothing if no question is open."""
        row = connection.execute(sql("exchange/sets/waiting")).fetchone()
        if row is None:
            return ()
        asked_by, partition, domain, bits, theirs, begin = row
        place = {"partition": partition, "domain": domain, "bits": bits}
        held = connection.execute(sql("exchange/sets/shared"), place).fetchall()
        counts = {bucket: count for bucket, _, _, count in held}
        different = [b for b in differing(bits, packed(bits, (one[:3] for one in held)), theirs) if b >= begin]
        chosen, lines = list[int](), 0
        for bucket in different:
            if chosen and lines + counts.get(bucket, 0) > self._lines:
                break
            chosen.append(bucket)
            lines += counts.get(bucket, 0)
        rest = different[len(chosen) :]
        told = {
            "asked_by": asked_by,
            "partition": partition,
            "domain": domain,
            "next_bucket": rest[0] if rest else None,
        }
        return self._messages(connection, place, chosen, told)

    def sent(self, connection: Connection, messages: Sequence[OutgoingMessage]) -> None:
        """Store how far the question is answered."""
        for message in messages:
            if message.told is not None:
                connection.execute(sql("exchange/sets/answered"), message.told)
                log.warning("exchange.answered", statements=len(messages) - 1, **message.told)

    def _messages(
        self, connection: Connection, place: Mapping[str, Any], buckets: Sequence[int], told: Mapping[str, Any]
    ) -> list[OutgoingMessage]:
        values = {**place, "own": self._province, "buckets": list(buckets)}
        rows = connection.execute(sql("exchange/sets/lines"), values).fetchall() if buckets else []
        names = ("record_id", "department", "epoch", "version", "digest_hi", "digest_lo")
        lines = [{**dict(zip(names, row, strict=False)), "record_id": row[0].hex} for row in rows]
        body = {
            "province": self._province, **place, "buckets": list(buckets), "asked_by": told["asked_by"],
            "made_at": datetime.now(UTC), "lines": lines,
        }  # fmt: skip
        key = f"set|{told['asked_by']}|{place['domain']}|{buckets[0] if buckets else ''}"
        messages = [OutgoingMessage(place["partition"], key, CONTRACT, encode_own(CONTRACT, body), told=told)]
        for record_id, _, epoch, version, high, low, statement, fingerprint, known in rows:
            if statement is None:
                # A later message will bring it; if none does, the audit finds history damaged.
                log.error("exchange.not_in_history", record_id=record_id.hex, version=version)
                continue
            headers = ((EPOCH, b"%d" % epoch), (KNOWN, b"%d" % known), (MEND, b"1"))
            name = accepted_key(record_id.hex, epoch, version, high, low)
            messages.append(OutgoingMessage(place["partition"], name, STATEMENT, statement, fingerprint, headers))
        return messages
