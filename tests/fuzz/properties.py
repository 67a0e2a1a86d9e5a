"""What must hold of any bytes, for import, columns and intake; used by the tests and by the coverage-guided fuzzer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from aiokafka.structs import ConsumerRecord

from producers.files.import_file import Import, import_file
from producers.files.rows.rejects import write_rejects
from schemas.catalogue import Department, load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode, frame, unframe
from schemas.contracts.columns import Batch, decode_batch, digests
from schemas.contracts.flat_frame import FLAT
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import Rejected, UsageError
from schemas.records.refused_row import NAME, PARTITION, is_whole
from streams.forwarding.findings import STAGE_FINDINGS
from streams.forwarding.kept_values import LONGEST
from streams.intake.schema_ids import Meanings
from streams.intake.stage import MAX_BYTES, IntakeStage
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, SCHEMA, Origin, header
from streams.kafka.ranges import TopicFacts
from streams.kafka.records import Run
from streams.projection.fold import newest, summary
from tests.fuzz.choices import Choices
from tests.fuzz.files import file
from tests.fuzz.hostile import DEPARTMENTS, Writers, message

__all__ = ["PROPERTIES", "Recorder", "check_columns", "check_import", "check_intake", "examined"]

STATEMENT, MARKER = "xinliu.Statement", "xinliu.Marker"
_BEYOND = {"DATE_RANGE", "DECIMAL_OVERFLOW"}
"""Whole for fastavro, but no column can hold them."""
_OURS = MemoryRegistry()


@cache
def _departments() -> tuple[Department, ...]:
    return tuple(load().department("beijing", key) for key in ("tax", "market-regulation", "finance"))


def check_import(choose: Choices) -> None:
    """Any bytes as a file: statements that intake would take and errors by row, or one UsageError."""
    department = choose.pick(_departments())
    stated_at = choose.pick((None, datetime(2025, 9, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)))
    suffix, content = file(choose)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"hostile{suffix}")
        path.write_bytes(content)
        try:
            found = import_file(path, department, load(), stated_at=stated_at)
        except UsageError as error:
            str(error).encode()  # can be shown
            return
        _every_row_is_answered(found)
        rejects = Path(folder, choose.pick(("rejects.csv", "rejects.xlsx")))
        write_rejects(rejects, found.table, found.errors, personal=found.columns.personal)


def _every_row_is_answered(found: Import) -> None:
    refused, sent = found.refused_lines, {statement.line for statement in found.outgoing}
    assert len({(statement.record_id, statement.version) for statement in found.outgoing}) == len(found.outgoing)
    assert not sent & refused
    assert len(sent) + len(refused) + found.duplicates == found.rows, "a row is neither sent nor told"
    json.dumps([error.reason for error in found.errors], ensure_ascii=False).encode()
    assert all(repair.line not in refused for repair in found.repairs)
    json.dumps(found.repairs.counted(), ensure_ascii=False).encode()
    if found.outgoing:
        values = [frame(_OURS.register(STATEMENT), statement.body) for statement in found.outgoing]
        assert decode_batch(_OURS, values, named=[None] * len(values), expected={STATEMENT}).undecodable == ()


def _flat(row: int, value: dict[str, Any]) -> dict[str, Any]:
    """What FLAT must hold, made field by field from what fastavro reads."""
    subject = {"uscc": "uscc", "subject_name": "name", "subject_kind": "kind"}
    flat: dict[str, Any] = {"row": row}
    for name in FLAT.names():
        outer, _, inner = name.partition("_")
        if name in subject:
            flat[name] = value["subject"][subject[name]]
        elif outer == "has":
            flat[name] = value[inner] is not None
        elif outer in ("penalty", "listing", "registration"):
            flat[name] = value[outer][inner] if value[outer] else None
        elif name != "row":
            flat[name] = value[name]
    return flat


def check_columns(choose: Choices) -> None:
    """Any batch of bytes: each row answered once, as if it stood alone, and as fastavro reads it."""
    writers = Writers(choose)
    values = [message(choose, writers) for _ in range(choose.integer(1, 8))]
    # Repeated to more than what is read one by one, so that halves and blocks are met too.
    values *= choose.pick((1, 1, 1, 12))
    batch = decode_batch(
        writers.registry, values, named=[None] * len(values), expected={STATEMENT, MARKER}, max_bytes=MAX_BYTES
    )
    rows = batch.statements["row"].to_list()
    answers = sorted([*rows, *(row for row, _, _ in batch.others), *(bad.row for bad in batch.undecodable)])
    assert answered_once(answers, len(values)), answers
    for row in {choose.integer(0, len(values) - 1) for _ in range(2)}:
        _reads_the_same_alone(writers, batch, row, values[row])
    for flat in batch.statements.head(10).to_dicts():
        schema_id, body = unframe(values[flat["row"]] or b"")
        writer = writers.registry.writer(schema_id)
        assert flat == _flat(flat["row"], decode(writer.parsed, body, parsed(STATEMENT)))
    for bad in batch.undecodable[:10]:
        assert bad.code in STAGE_FINDINGS
        json.dumps(bad.message).encode()
        _fastavro_agrees(writers, values[bad.row] or b"", bad.code)


def answered_once(rows: Sequence[int], count: int) -> bool:
    """Tell whether every row has exactly one answer."""
    return list(rows) == list(range(count))


def _reads_the_same_alone(writers: Writers, batch: Batch, row: int, value: bytes | None) -> None:
    alone = decode_batch(writers.registry, [value], named=[None], expected={STATEMENT, MARKER}, max_bytes=MAX_BYTES)
    assert alone.statements.drop("row").equals(batch.statements.filter(row=row).drop("row"))
    assert [other[1:] for other in alone.others] == [other[1:] for other in batch.others if other[0] == row]
    assert [bad.code for bad in alone.undecodable] == [bad.code for bad in batch.undecodable if bad.row == row]


def _fastavro_agrees(writers: Writers, value: bytes, code: str) -> None:
    if code in _BEYOND or len(value) < 5 or int.from_bytes(value[:5], "big") != writers.statement:
        return
    try:
        read = decode(parsed(STATEMENT), value[5:])
        written = encode(STATEMENT, read)
    except Rejected:  # not decodable, or of more digits than a decimal of ours has
        return
    assert written != value[5:], "a whole statement was called damaged"


class Recorder:
    """Intake's outside edge: keeps what would go to `accepted` and `quarantine`."""

    accepted_partitions = 4

    def __init__(self) -> None:
        self.accepted: list[tuple[int, bytes, bytes, list[tuple[str, bytes]]]] = []
        self.quarantined: list[tuple[bytes, list[tuple[str, bytes]]]] = []
        self.vectors: list[dict[str, Any]] = []

    def accept(self, messages: Sequence[tuple[int, bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        """Take messages for `accepted`."""
        self.accepted.extend(messages)

    def quarantine(self, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Take a refused message."""
        self.quarantined.append((value, headers))

    def vector(self, key: bytes, progress: dict[str, Any]) -> None:
        """Take a progress vector, which must be one."""
        encode("xinliu.Progress", progress)
        self.vectors.append(progress)

    def flush(self) -> None:
        """Nothing is under way."""


def records_of(topic: str, values: Sequence[bytes | None], first: int = 0) -> Run:
    """Return consecutive records of partition 0 of a topic, as fetched."""
    received = 1_763_000_000_000
    return Run(
        topic,
        0,
        first,
        tuple(
            ConsumerRecord(topic, 0, first + place, received, 1, b"k", value, None, 1, len(value or b""), ())
            for place, value in enumerate(values)
        ),
    )


class Anything:
    """Every fingerprint: what somebody else's schemas do is asked here, not whether they are believed."""

    def __contains__(self, _: object) -> bool:
        return True


def stage_of(registry: MemoryRegistry, recorder: Recorder, **options: Any) -> IntakeStage:
    """Return intake for the departments of DEPARTMENTS."""
    departments = {f"records.{key}": load().department("beijing", key) for key in DEPARTMENTS}
    facts = {topic: TopicFacts(topic, "id", 1) for topic in departments}
    known = {"meanings": Meanings(shipped=Anything()), **options}
    return IntakeStage(registry, load(), departments, facts, recorder, progress_every=0.0, **known)  # type: ignore[arg-type]


def check_intake(choose: Choices) -> None:
    """Any batch of bytes: each message verbatim in `accepted`, or in the quarantine, a marker taken or a refused row told; never two."""
    writers = Writers(choose)
    runs = [
        records_of(f"records.{key}", [message(choose, writers) for _ in range(choose.integer(1, 5))])
        for key in DEPARTMENTS
    ]
    recorder = Recorder()
    stage = stage_of(writers.registry, recorder)
    stage(runs)
    stage.tick()
    examined(runs, recorder, writers)


def examined(runs: Sequence[Run], recorder: Recorder, writers: Writers) -> None:
    """Hold what intake forwarded against what it was given."""
    given = {(record.topic, record.offset): record.value for run in runs for record in run.records}
    accepted = {_place(headers): value for _, _, value, headers in recorder.accepted}
    rows = [(value, headers) for value, headers in recorder.quarantined if _origin(headers).partition == PARTITION]
    refused = {
        _place(headers): (value, headers)
        for value, headers in recorder.quarantined
        if _origin(headers).partition != PARTITION
    }
    assert len(accepted) == len(recorder.accepted)
    assert len(refused) + len(rows) == len(recorder.quarantined)
    assert not accepted.keys() & refused.keys()
    told: list[tuple[str, int, str]] = []
    for place, value in given.items():
        if place in accepted:
            assert accepted[place] == value, "forwarded, but not verbatim"
        elif place in refused:
            _can_be_projected(value or b"", *refused[place])
        elif (said := _refused_row(writers, value or b"")) is not None:
            assert said["department"] == place[0].removeprefix("records.")
            told.append((place[0], said["refusal_id"], said["outcome"]))
        else:
            assert _is_marker(writers, value or b"", place[0]), "neither accepted nor quarantined"
    kept = [(origin.topic, origin.offset) for origin in (_origin(headers) for _, headers in rows)]
    assert sorted(kept) == sorted((topic, refusal) for topic, refusal, _ in told), "a refused row has no entry, or two"
    for value, headers in rows:
        _can_be_told(value, headers)
    assert {entry["topic"]: entry["next_offset"] for entry in recorder.vectors[-1]["inputs"]} == {
        run.topic: run.next_offset for run in runs
    }
    _can_be_folded(recorder, writers)


def _origin(headers: list[tuple[str, bytes]]) -> Origin:
    return Origin.from_bytes(header(headers, ORIGIN) or b"")


def _refused_row(writers: Writers, value: bytes) -> dict[str, Any] | None:
    """Return what a message says of a row that was refused at the department's side; None where it is another record."""
    writer = writers.registry.writer(unframe(value)[0])
    return decode(writer.parsed, unframe(value)[1], parsed(NAME)) if writer.name == NAME else None


def _can_be_told(kept: bytes, headers: list[tuple[str, bytes]]) -> None:
    """Hold the entry of a refused row against what the view can keep and show of it."""
    text = (header(headers, FINDINGS) or b"").decode()
    known, decision = json.loads(text), header(headers, DECISION)
    assert known["uscc"] is None or is_whole(known["uscc"])
    assert (known["record_id"] is None) == (known["version"] is None)
    assert "\\u0000" not in text
    assert "\\u0000" not in (decision or b"").decode()
    assert len(text) < 1 << 16
    assert decision is None or not kept, "of what was decided about, nothing more is kept"


def _place(headers: list[tuple[str, bytes]]) -> tuple[str, int]:
    origin = _origin(headers)
    return origin.topic, origin.offset


def _is_marker(writers: Writers, value: bytes, topic: str) -> bool:
    schema_id, body = unframe(value)
    read = decode(writers.registry.writer(schema_id).parsed, body, parsed(MARKER))
    return bool(read["department"] == topic.removeprefix("records."))


def _can_be_projected(given: bytes, kept: bytes, headers: list[tuple[str, bytes]]) -> None:
    assert len(kept) == (len(given) if len(given) <= LONGEST else 4096)
    assert all(a == b or b == ord("*") for a, b in zip(given, kept, strict=False))
    text = (header(headers, FINDINGS) or b"").decode()
    known = json.loads(text)
    assert known["findings"]
    # PostgreSQL keeps no U+0000 in text or jsonb, and no index entry of more than a third of a page.
    assert "\\u0000" not in text
    for name in ("uscc", "domain", "record_id"):
        assert known[name] is None or len(known[name].encode()) <= 1024
    assert len(text) < 1 << 16


def _can_be_folded(recorder: Recorder, writers: Writers) -> None:
    values = [value for _, _, value, _ in recorder.accepted]
    batch = decode_batch(writers.registry, values, named=[None] * len(values), expected={STATEMENT})
    assert batch.undecodable == ()
    assert batch.statements.height == len(values)
    if values:
        high, low = digests([value[5:] for value in values])
        ranked = batch.statements.with_columns(
            high.alias("digest_hi"), low.alias("digest_lo"), epoch=pl.lit(0, pl.Int64)
        )
        records = newest(ranked)
        assert summary(records)["records"].sum() == records.height
    for partition, key, value, headers in recorder.accepted:
        writer = writers.registry.writer(int.from_bytes(value[1:5], "big"))
        assert (header(headers, SCHEMA) or b"").decode() == writer.fingerprint
        assert "\\u0000" not in json.dumps(writer.schema), "PostgreSQL cannot keep this writer's schema"
        assert 0 <= partition < recorder.accepted_partitions
        key.decode("ascii")


PROPERTIES = {"import": check_import, "columns": check_columns, "intake": check_intake}
"""Name of a target → what must hold."""
