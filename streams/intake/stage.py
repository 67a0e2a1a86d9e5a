"""The intake stage: examines messages of departments in batches, as columns, and forwards them unchanged.

Good statements go byte for byte to `accepted`, everything else to `quarantine` with every reason. Progress vectors,
written behind both, report to the view how far intake is. Intake delivers first and commits after: a crash forwards
some statements twice, which the fold tolerates (it is idempotent), and loses none.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import polars as pl

from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue, Department
from schemas.contracts.codec import HEADER
from schemas.contracts.columns import Batch, decode_batch
from schemas.contracts.registry import Registry
from schemas.errors import Retryable
from schemas.identifiers.persons import names_person
from schemas.operations.event import Operation
from schemas.reconciliation.manifest import belongs
from schemas.records.partitioning import partitions_of
from schemas.records.refused_row import NAME as REFUSED_ROW
from schemas.records.refused_row import REFUSED
from schemas.rules import Origins, validate
from streams.forwarding.findings import Finding, finding
from streams.forwarding.forwarder import Forwards, Outgoing
from streams.forwarding.kept_values import LONGEST, kept
from streams.forwarding.masking import keepable, keepable_number, masked
from streams.intake.recorder import IntakeRecorder
from streams.intake.refused_rows import RefusedRow, faults_of, read_refused_row
from streams.intake.schema_ids import Meanings, SchemaReading, named_for_keeps
from streams.intake.stops import Stopping
from streams.kafka.headers import DECISION, FINDINGS, MANIFEST, ORIGIN, RECEIVED, SCHEMA, Origin, headers_of, origins
from streams.kafka.progress import latest
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Record, Run
from streams.monitoring.instruments import Instruments
from streams.runtime.crash_points import crash_point

__all__ = ["Examined", "IntakeStage"]

MAX_BYTES = 1 << 20
"""Longest message that is examined, in bytes; a statement has some hundred."""

_KNOWN_RECORDS = {"xinliu.Statement", "xinliu.Marker", "xinliu.Manifest", REFUSED_ROW}


@dataclass(slots=True)
class _Input:
    """Progress of one input partition."""

    topic_id: str
    next_offset: int = 0
    as_of: datetime | None = None
    marked_at: datetime | None = None


@dataclass(slots=True)
class _Verdict:
    """Findings on one message, and the values that could be read of it."""

    findings: list[Finding] = field(default_factory=list)
    refused: bool = False
    uscc: str | None = None
    domain: str | None = None
    record_id: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """Examined runs, and everything to be written for them."""

    runs: tuple[Run, ...]
    records: Sequence[Record]
    """All messages of the runs; `row` is a place among them."""
    good: pl.DataFrame
    """The statements that are not refused: row, uscc, record_id, version."""
    verdicts: dict[int, _Verdict]
    """By row: messages with findings; the refused ones go to quarantine."""
    markers: tuple[tuple[Record, datetime], ...]
    """Good markers, with the time up to which they vouch."""
    manifests: tuple[tuple[Record, dict[str, Any]], ...] = ()
    """Manifests that are not refused; whether one can be compared with anything is checked at the comparison."""
    refused_rows: tuple[tuple[Record, RefusedRow], ...] = ()
    """Reports of departments on rows that they refused themselves; faulty reports are refused."""
    stops: tuple[Operation, ...] = ()
    """Events that stop a department because of this batch."""


class IntakeStage:
    """The work of the intake worker, in two steps: `prepare` examines, `finish` writes.

    `departments` maps an input topic to the department that may write it; `now` is the clock, in UTC; `stopping` stops
    a department if too many of its messages are refused; `meanings` knows the schemas that are believed (by default
    the shipped ones).
    """

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        departments: dict[str, Department],
        facts: dict[str, TopicFacts],
        forwarder: Forwards,
        *,
        recorder: IntakeRecorder | None = None,
        progress_every: float = 0.25,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stopping: Stopping | None = None,
        meanings: Meanings | None = None,
    ) -> None:
        self._stopping = stopping
        self._reading = SchemaReading(registry, meanings or Meanings())
        self._catalogue = catalogue
        self._departments = departments
        self._who = Origins(departments.values())
        self._facts = facts
        self._forwarder = forwarder
        self._recorder = recorder or IntakeRecorder(Instruments("intake"))
        self._progress_every = progress_every
        self._now = now
        self._inputs: dict[tuple[str, int], _Input] = {}
        self._news = False
        self._told_at = 0.0
        # Compaction keeps the last vector of every run of this stage; each covers all that the run has forwarded.
        self._vector_key = f"progress|{uuid.uuid4().hex}".encode()

    def prepare(self, runs: Sequence[Run], *, waived: Mapping[int, Collection[str]] | None = None) -> Examined:
        """Examine these runs; `waived` holds, by row, codes that only count as remarks there.

        Raises Retryable if the registry does not answer.
        """
        records = [record for run in runs for record in run.records]
        batch = decode_batch(
            self._reading,
            [record.value for record in records],
            named=headers_of(records, SCHEMA, 0),
            expected=_KNOWN_RECORDS,
            max_bytes=MAX_BYTES,
            source_of=lambda row: records[row].topic,
        )
        verdicts = self._examine(batch, records, waived or {})
        refused = {row for row, verdict in verdicts.items() if verdict.refused}
        others = [(row, name, value) for row, name, value in batch.others if row not in refused]
        markers = {row: marker["as_of"] for row, name, marker in others if name == "xinliu.Marker"}
        manifests = {row: manifest for row, name, manifest in others if name == "xinliu.Manifest"}
        rows = {row: read_refused_row(value, self._codes()) for row, name, value in others if name == REFUSED_ROW}
        good = batch.statements.select("row", "uscc", "record_id", "version")
        crash_point("intake.decoded")
        return Examined(
            tuple(runs),
            records,
            good.filter(~pl.col("row").is_in(list(refused))) if refused else good,
            dict(sorted(verdicts.items())),
            tuple((records[row], as_of) for row, as_of in markers.items()),
            tuple((records[row], manifest) for row, manifest in manifests.items()),
            tuple((records[row], refusal) for row, refusal in rows.items()),
            # Last, so that a retry counts nothing twice. Rows that a department refused itself do not count against it.
            self._judge(runs, {row: verdicts[row] for row in refused}, markers.keys() | manifests.keys(), rows.keys()),
        )

    def _judge(
        self, runs: Sequence[Run], refused: dict[int, _Verdict], markers: Collection[int], told: Collection[int]
    ) -> tuple[Operation, ...]:
        if self._stopping is None:
            return ()
        codes = {row: [found["code"] for found in verdict.findings] for row, verdict in refused.items()}
        return self._stopping.judge(runs, codes, {*markers, *told}, told)

    def finish(self, examined: Examined) -> None:
        """Forward an examined batch; return once the broker has all of it.

        Raises Retryable if Kafka does not answer; the same batch may then be given again.
        """
        # The messages are made here, not in `prepare`: the thread of this step has less to do.
        self._forwarder.accept(self.outgoing(examined))
        for row, verdict in examined.verdicts.items():
            if verdict.refused:
                self._quarantine(examined.records[row], verdict)
        for record, refusal in examined.refused_rows:
            self._forward_refused_row(record, refusal)
        crash_point("intake.forwarding")
        self._forwarder.flush()
        if examined.manifests:
            self._forward_manifests(examined.manifests)
        crash_point("intake.forwarded")
        if self._stopping is not None:
            self._stopping.tell(examined.stops)
        self._note(examined)
        if examined.markers or examined.manifests:
            # Before the marker is acked: a crash after its commit would lose the time that the source has vouched for.
            self._tell()
        verdicts = ((examined.records[row], verdict) for row, verdict in examined.verdicts.items())
        beside = (record for record, _ in (*examined.markers, *examined.manifests, *examined.refused_rows))
        self._recorder.forwarded(examined.runs, verdicts, beside)

    def resumed(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Take over the offsets from which input partitions are read: a worker has forwarded everything before them.

        The next vector reports them. A crash between a commit and the vector behind it would otherwise leave the
        watermark where it was until the next message comes, which may be never.
        """
        for (topic, partition), offset in positions.items():
            if offset:
                known = self._inputs.setdefault((topic, partition), _Input(self._facts[topic].topic_id))
                known.next_offset = max(known.next_offset, offset)
                self._news = True

    def __call__(self, runs: Sequence[Run]) -> None:
        """Do both steps."""
        self.finish(self.prepare(runs))

    def tick(self) -> None:
        """Write the vector if there is news and the last vector is old enough."""
        if self._news and monotonic() - self._told_at >= self._progress_every:
            self._tell()

    def _tell(self) -> None:
        self._news = False  # first: offsets taken over meanwhile are news again
        vector = {
            "written_at": self._now(),
            "inputs": [
                {
                    "topic": topic,
                    "topic_id": known.topic_id,
                    "partition": partition,
                    "next_offset": known.next_offset,
                    "as_of": known.as_of,
                    "marked_at": known.marked_at,
                }
                for (topic, partition), known in sorted(self._inputs.items())
            ],
        }
        crash_point("intake.vector")
        try:
            self._forwarder.vector(self._vector_key, vector)
        except Retryable:
            self._news = True
            raise
        self._told_at = monotonic()

    def _examine(
        self, batch: Batch, records: list[Record], waived: Mapping[int, Collection[str]]
    ) -> dict[int, _Verdict]:
        verdicts: dict[int, _Verdict] = {}
        for damage in batch.undecodable:
            verdict = verdicts.setdefault(damage.row, _Verdict())
            verdict.findings.append(finding(damage.code, detail=damage.message))
            verdict.refused = True
        for row, name, value in batch.others:
            department = self._departments[records[row].topic]
            if value["department"] != department.key:
                verdict = verdicts.setdefault(row, _Verdict(refused=True))
                verdict.findings.append(finding("WRONG_DEPARTMENT", field="department"))
            elif name == "xinliu.Manifest" and not belongs(value, department.domains):
                verdict = verdicts.setdefault(row, _Verdict(refused=True))
                verdict.findings.append(finding("MANIFEST_SCOPE", field="domain"))
            elif name == REFUSED_ROW and (faults := faults_of(value)):
                verdict = verdicts.setdefault(row, _Verdict(refused=True))
                verdict.findings.extend(faults)
        frame = batch.statements
        if frame.height:
            self._validate(frame, records, verdicts, waived)
        return verdicts

    def _validate(
        self,
        frame: pl.DataFrame,
        records: list[Record],
        verdicts: dict[int, _Verdict],
        waived: Mapping[int, Collection[str]],
    ) -> None:
        now = self._now()
        found = [validate(frame, self._catalogue, today=china_day(now), now=now)]
        by = [self._departments[records[row].topic].key for row in frame["row"].to_list()]
        found.append(self._who.validate(frame, pl.Series(by, dtype=pl.String)))
        findings = pl.concat(found)
        if findings.is_empty():
            return
        for row, code, severity, name, message in findings.select(
            "row", "code", "severity", "field", "message_zh"
        ).rows():
            verdict = verdicts.setdefault(row, _Verdict())
            verdict.findings.append({"code": code, "field": name, "message": message})
            verdict.refused |= severity == "refuse" and code not in waived.get(row, ())
        known = frame.filter(pl.col("row").is_in(list(verdicts))).select(
            "row", "uscc", "domain", "record_id", "version"
        )
        for row, uscc, domain, record_id, version in known.rows():
            verdict = verdicts[row]
            # `masked` must see a person's number to recognise it; it keeps nothing of it.
            verdict.uscc = uscc if names_person(uscc) else keepable(uscc)
            verdict.domain, verdict.record_id = keepable(domain), keepable(record_id)
            verdict.version = keepable_number(version)

    def outgoing(self, examined: Examined) -> list[Outgoing]:
        """Return the messages for `accepted`: one, verbatim, for each row of `good`, in its order."""
        good = examined.good
        if good.is_empty():
            return []
        rows = good["row"].to_list()
        chosen = [examined.records[row] for row in rows]
        blake = hashlib.blake2b
        digests = [blake(record.value[HEADER:], digest_size=16).hexdigest() for record in chosen]
        keys = good.select(
            pl.concat_str("record_id", "version", pl.Series("digest", digests), separator="|").cast(pl.Binary)
        ).to_series()
        places = partitions_of(good["uscc"], self._forwarder.accepted_partitions)
        prefixes = [record.value[1:HEADER] for record in chosen]
        writers = {prefix: self._reading.meant(prefix) for prefix in set(prefixes)}
        messages = [
            (
                place,
                key,
                record.value,
                [(ORIGIN, origin), (SCHEMA, writers[prefix]), (RECEIVED, b"%d" % record.timestamp)],
            )
            for record, origin, prefix, key, place in zip(
                chosen, self._origins(chosen), prefixes, keys.to_list(), places.tolist(), strict=True
            )
        ]
        for row, (_, _, _, headers) in zip(rows, messages, strict=True) if examined.verdicts else ():
            remarks = examined.verdicts.get(row)
            if remarks:  # as the last header, where the view looks for it
                headers.append((FINDINGS, json.dumps(remarks.findings, ensure_ascii=False).encode()))
        return messages

    def _forward_manifests(self, manifests: Sequence[tuple[Record, dict[str, Any]]]) -> None:
        # Behind every statement before them: by their broker time the view knows which statements came later. A key has
        # few values whatever a department writes, so that compaction keeps the newest and `accepted` does not grow.
        messages: list[Outgoing] = []
        for record, manifest in manifests:
            (place,) = partitions_of(pl.Series([manifest["department"]]), self._forwarder.accepted_partitions).tolist()
            parts = (record.topic, record.partition, manifest["domain"], manifest["kind"], manifest["part"] % 256)
            key = "|".join(("manifest", *map(str, parts))).encode()
            (origin,) = self._origins([record])
            messages.append(
                (place, key, record.value, [(MANIFEST, origin), (SCHEMA, self._reading.meant(record.value[1:HEADER]))])
            )
        self._forwarder.accept(messages)
        self._forwarder.flush()

    def _origins(self, records: Sequence[Record]) -> list[bytes]:
        logs = {
            (topic, partition): origins(topic, self._facts[topic].topic_id, partition)
            for topic, partition in {(record.topic, record.partition) for record in records}
        }
        return [logs[record.topic, record.partition] % record.offset for record in records]

    def _quarantine(self, record: Record, verdict: _Verdict) -> None:
        known: dict[str, Any] = {
            "received_at": record.timestamp,
            "uscc": verdict.uscc,
            "domain": verdict.domain,
            "record_id": verdict.record_id,
            "version": verdict.version,
            "findings": verdict.findings,
        }
        (origin,) = self._origins([record])
        value, headers = kept(record.value, known, (ORIGIN, origin))
        self._forwarder.quarantine(value, [*headers, *named_for_keeps(record)])

    def _forward_refused_row(self, record: Record, refusal: RefusedRow) -> None:
        headers = [(ORIGIN, refusal.origin(record.topic).to_bytes())]
        if refusal.outcome != REFUSED:
            place = Origin(record.topic, self._facts[record.topic].topic_id, record.partition, record.offset)
            headers.append((DECISION, json.dumps(refusal.decision(place), ensure_ascii=False).encode()))
        headers.append((FINDINGS, json.dumps(refusal.known(record.timestamp), ensure_ascii=False).encode()))
        # A report holds no content of a record: cutting a long one loses nothing.
        value, _ = masked((record.value or b"")[:LONGEST], refusal.uscc)
        self._forwarder.quarantine(value if refusal.outcome == REFUSED else b"", headers)

    def _codes(self) -> frozenset[str]:
        return self._catalogue.excepted_codes(china_day(self._now()))

    def _note(self, examined: Examined) -> None:
        for run in examined.runs:
            known = self._inputs.setdefault((run.topic, run.partition), _Input(self._facts[run.topic].topic_id))
            known.next_offset = max(known.next_offset, run.next_offset)
        for record, as_of in examined.markers:
            received = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            # No source can vouch for a time after the receipt of its marker.
            known = self._inputs[record.topic, record.partition]
            # A marker that comes again, or late, does not take back the time of another one.
            known.as_of = latest(known.as_of, min(as_of, received))
            known.marked_at = latest(known.marked_at, received)
        self._news = True
