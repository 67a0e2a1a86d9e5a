"""Nobody vouches for what was not said: whatever a file holds and wherever its publication ends, no entity that it
names is 无.

The invariant, of any file and any crash: once the source vouches for a time, of each entity that a row names either the
row is accepted, or an entry of that entity waits (待核), or the source's data as of stands before the row was known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import producers.publisher
from producers import NotDelivered, NotVouched, StatementRejected
from producers.files.rows.refusals import MOST_REFUSALS
from producers.files.rows.rejects import write_rejects
from schemas.contracts.codec import decode, unframe
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.records.refused_row import entities
from schemas.servers.kafka import Cluster
from streams.kafka.headers import DECISION, FINDINGS, ORIGIN, Origin, findings_of, header
from tests.commands import without_stack
from tests.examples import examples
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.memory_kafka import PARTITIONS, Killed, MemoryKafka, publishing
from tests.statements import penalty as statement
from tests.unit.importing import penalty, read, write

TOPIC = "records.tax"
HEADERS = list(penalty())
SPOILT = (
    "", " ", "???", "#N/A", "=A1", "01/02/2025", "2025-13-45", "9999-99-99", "1e400", "0.5元", "110101199003074514", "9" * 200,
    "91110000M0000000", "9111000010162374OK", "\x00", "�", "甲;乙", "91110000101623741K;91110000101623741K", "NULL", "-1", "未知",
)  # fmt: skip
"""What a cell may hold instead of what belongs there."""


@dataclass
class Seen:
    """What intake makes of a topic, as a reader would be told."""

    accepted: set[str] = field(default_factory=set)
    waiting: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    vouched: datetime | None = None

    def none_said_of(self, code: str) -> bool:
        """Tell whether 无 would be said of an entity of which nothing else is known, as of when this file was published."""
        entries = self.waiting.values()
        held = [entry["held_from"] or entry["received_at"] for entry in entries if entry["uscc"] is None]
        if self.vouched is None or any(at < self.vouched.timestamp() * 1000 for at in held):
            return False
        return code not in self.accepted and not any(entry["uscc"] == code for entry in entries)


def seen(kafka: MemoryKafka) -> Seen:
    """Let intake read everything, and project what it writes."""
    recorder, told = Recorder(), Seen()
    stage = stage_of(kafka.registry, recorder, now=lambda: datetime.now(UTC))
    now = round(datetime.now(UTC).timestamp() * 1000)
    for partition in range(PARTITIONS):
        run = records_of(TOPIC, [value for at, value in kafka.values if at == partition])
        for record in run.records:
            record.timestamp, record.partition = now, partition
        if run.records:
            stage([replace(run, partition=partition)])
    stage.tick()
    marks = [known["as_of"] for known in recorder.vectors[-1]["inputs"]] if recorder.vectors else []
    if len(marks) == PARTITIONS and None not in marks:
        told.vouched = min(marks)
    for _, _, value, _ in recorder.accepted:
        schema_id, body = unframe(value)
        told.accepted.add(decode(kafka.registry.writer(schema_id).parsed, body)["subject"]["uscc"])
    for _, headers in recorder.quarantined:
        assert header(headers, DECISION) is None
        origin = Origin.from_bytes(header(headers, ORIGIN) or b"")
        told.waiting.setdefault((origin.partition, origin.offset), findings_of(header(headers, FINDINGS)))
    return told


def command(kafka: MemoryKafka, path: Path, *options: str) -> Any:
    """Run `xinliu publish` onto this topic."""
    app = without_stack("publish")

    class Here:
        kafka_cluster = Cluster.of("127.0.0.1:1")
        province, registry, kafka = "beijing", "", kafka_cluster

        def acting(self, _: str) -> Here:
            return self

    words = ("publish", str(path), "--department", "tax", "--json", *options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(producers.publisher, "Producer", lambda _: kafka)
        patch.setattr(producers.publisher, "Registry", lambda _: kafka.registry)
        try:
            return CliRunner().invoke(app, words, obj=Here)
        except Killed as killed:
            return SimpleNamespace(exit_code=137, exception=killed, stdout="")


def row(number: int, **changes: str) -> dict[str, str]:
    """Return a good row about an entity of its own."""
    return penalty(**{"CF_WSH": f"京税罚〔2025〕{number}号", "CF_XDR_SHXYM": generate(number + 1), **changes})


SPOILING = st.dictionaries(st.sampled_from([*HEADERS, ""]), st.sampled_from(SPOILT), min_size=1, max_size=3)


@given(
    spoilt=st.lists(st.one_of(st.none(), SPOILING), min_size=1, max_size=5),
    kill_after=st.one_of(st.none(), st.integers(0, 12)),
    mark_later=st.booleans(),
)
@examples(60)
def test_no_entity_that_a_file_names_is_ever_none(
    spoilt: Sequence[dict[str, str] | None], kill_after: int | None, mark_later: bool
) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    rows = []
    for number, changes in enumerate(spoilt):
        made = row(number)
        rows.append([(changes or {}).get(name, value) for name, value in made.items()])
        if changes and "" in changes:  # a cell too many
            rows[-1].append(changes[""] or "多")
    kafka.kill_after = kill_after
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        text = "".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in [HEADERS, *rows])
        path.write_text(text, encoding="utf-8", newline="")
        done = command(kafka, path)
    if done.exit_code not in (0, 1):  # refused as a whole, or killed
        assert seen(kafka).vouched is None, "vouched for a file that was not published"
        return
    kafka.kill_after = None
    if mark_later:
        with publishing(kafka) as publisher:
            publisher.mark(datetime.now(UTC))
    told = seen(kafka)
    assert told.vouched is not None
    for number in range(len(spoilt)):
        assert not told.none_said_of(generate(number + 1)), (done.stdout, told.waiting)


def test_the_case_of_the_issue_is_pending_and_closed_by_its_record(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    path = write(tmp_path / "a.csv", [row(1), row(2, CF_JDRQ="01/02/2025")])
    done = command(kafka, path)
    said = json.loads(done.stdout)
    assert (done.exit_code, said["pending_entities"], said["holding_rows"]) == (1, 1, 0)
    (told,) = said["refusals"]
    assert told["uscc"] == generate(3)
    names = [name for name, _ in kafka.said()]
    assert names == ["RefusedRow", "Statement", "Marker", "Marker"], "told first of all, vouched for last"
    refusal = next(content for name, content in kafka.said() if name == "RefusedRow")
    mended = read(write(tmp_path / "b.csv", [row(2)])).outgoing[0]
    assert (refusal["record_id"], refusal["version"]) == (mended.record_id, mended.version)
    assert "甲某" not in str(refusal), "nothing of the row's content"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_same_row_is_the_same_refusal_wherever_it_stands(tmp_path: Path, order: tuple[int, int]) -> None:
    bad = [row(1, CF_JDRQ="bad"), row(2, CF_XDR_SHXYM="91110000M0000000")]
    first = {one.refusal_id for _, one in read(write(tmp_path / "a.csv", bad)).refusals}
    again = read(write(tmp_path / "b.csv", [row(7), *(bad[place] for place in order)], encoding="gb18030"))
    assert {one.refusal_id for _, one in again.refusals} == first
    assert len(first) == 2


def test_whom_refused_rows_may_be_about(tmp_path: Path) -> None:
    one, two = generate(1), generate(2)
    cases = {
        f"{one};{two}": [(one, True), (two, True)],  # two codes, one name: both are named, and nobody else
        f"{one};9111": [(one, True), (None, False)],
        "110101199003074514": [(None, False)],
        "": [(None, False)],
        one[:-1] + ("0" if one[-1] != "0" else "1"): [(None, False)],
    }
    for cell, wanted in cases.items():
        found = read(write(tmp_path / "a.csv", [row(1, CF_XDR_SHXYM=cell)]))
        told = [(refusal.uscc, refusal.uscc is not None) for _, refusal in found.refusals]
        assert sorted(told, key=str) == sorted(wanted, key=str), cell
    assert entities(" ９１110000101623741ｋ ") == (("91110000101623741K",), True)


def test_no_number_of_a_person_is_told(tmp_path: Path) -> None:
    number = "110101199003074514"
    kafka = MemoryKafka(MemoryRegistry())
    command(kafka, write(tmp_path / "a.csv", [row(1, CF_XDR_SHXYM=number, CF_SY=f"身份证{number}")]))
    assert not any(number.encode() in value for _, value in kafka.values)
    recorded = Recorder()
    stage_of(kafka.registry, recorded)([records_of(TOPIC, [value for _, value in kafka.values])])
    assert not any(number in str(entry) for entry in recorded.quarantined)


def test_rows_beyond_what_is_told_one_by_one_hold_the_source_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_REFUSALS == 10_000
    monkeypatch.setattr("producers.files.rows.refusals.MOST_REFUSALS", 3)
    found = read(write(tmp_path / "a.csv", [row(number, CF_JDRQ="bad") for number in range(8)]))
    assert [refusal.uscc is None for _, refusal in found.refusals] == [False, False, False, True]
    assert found.refusals[-1][1].known_since is not None


def test_a_mended_file_of_rejects_closes_what_its_rows_came_of(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    bad = read(write(tmp_path / "a.csv", [row(1), row(2, CF_XDR_SHXYM="9111", 更新时间="")]))
    ((_, refusal),) = bad.refusals
    write_rejects(tmp_path / "r.csv", bad.table, bad.errors, refusals=bad.refusal_ids)
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    assert f"〔退回号 {refusal.refusal_id}〕" in text
    half = text.replace(",9111,", f",{generate(3)},")
    (tmp_path / "half.csv").write_text(half, encoding="utf-8")
    still = read(tmp_path / "half.csv")
    assert list(still.mended) == []
    ((_, second),) = still.refusals
    assert set(still.refusal_ids[2]) == {second.refusal_id, refusal.refusal_id}, (
        "the row that is mended in the end closes both"
    )
    write_rejects(tmp_path / "r2.csv", still.table, still.errors, refusals=still.refusal_ids)
    rows = (tmp_path / "r2.csv").read_text(encoding="utf-8-sig").splitlines()
    place = rows[0].split(",").index("更新时间")
    cells = rows[1].split(",")
    cells[place] = "2025-09-02 10:00:00"
    (tmp_path / "good.csv").write_text("\n".join([rows[0], ",".join(cells)]), encoding="utf-8")
    done = command(kafka, tmp_path / "good.csv")
    assert done.exit_code == 0, done.stdout
    closed = [(one["refusal_id"], one["outcome"]) for name, one in kafka.said() if name == "RefusedRow"]
    assert closed == [(second.refusal_id, "MENDED"), (refusal.refusal_id, "MENDED")]


def test_a_file_that_is_refused_as_a_whole_is_not_vouched_for(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    (tmp_path / "a.csv").write_text("甲,乙\n1,2\n", encoding="utf-8")
    done = command(kafka, tmp_path / "a.csv")
    assert isinstance(done.exception, UsageError)
    assert kafka.values == []


def test_ctrl_c_leaves_no_marker(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    kafka.kill_after = 2
    path = write(tmp_path / "a.csv", [row(1), row(2), row(3, CF_JDRQ="bad")])
    assert isinstance(command(kafka, path).exception, Killed)
    assert [name for name, _ in kafka.said()] == ["RefusedRow", "Statement"]


def test_refusals_that_cannot_be_sent_leave_no_marker(tmp_path: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    row_id = kafka.registry.register("xinliu.RefusedRow")
    kafka.refuses = lambda value: unframe(value)[0] == row_id
    done = command(kafka, write(tmp_path / "a.csv", [row(1), row(3, CF_JDRQ="bad")]))
    assert isinstance(done.exception, NotDelivered)
    assert kafka.values == [], "not even the good ones: nobody could vouch for them"


BROKEN: tuple[Any, ...] = (None, 7, {}, {**statement("税1号"), "version": "1"}, {**statement("税1号"), "subject": None})


@pytest.mark.parametrize("bad", BROKEN, ids=["none", "number", "empty", "version", "subject"])
def test_a_publisher_that_refused_a_statement_does_not_vouch(bad: Any) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    with publishing(kafka) as publisher:
        with pytest.raises((StatementRejected, AttributeError)):
            publisher.publish(bad)
        publisher.publish(statement("税2号"))
        with pytest.raises(NotVouched, match=r"publish_refusals\(\) or dismiss\(\)"):
            publisher.mark(datetime.now(UTC))
        assert "Marker" not in [name for name, _ in kafka.said()]
        assert publisher.publish_refusals() == 1
        publisher.mark(datetime.now(UTC))
    assert [name for name, _ in kafka.said()] == ["Statement", "RefusedRow", "Marker", "Marker"]


def test_a_publisher_vouches_again_when_what_it_refused_is_published_or_dismissed() -> None:
    kafka = MemoryKafka(MemoryRegistry())
    good = statement("税1号")
    with publishing(kafka) as publisher:
        for bad in ({**good, "surplus": 1}, {**good, "record_id": "f" * 32, "surplus": 1}):
            with pytest.raises(StatementRejected):
                publisher.publish(bad)
        publisher.publish({**good, "version": good["version"] - 1})
        assert len(publisher.refused) == 2, "an earlier version is not what was refused"
        publisher.publish(good)
        (left,) = publisher.refused
        with pytest.raises(NotVouched):
            publisher.mark(datetime.now(UTC))
        publisher.dismiss(left)
        with pytest.raises(UsageError, match="refused here"):
            publisher.dismiss(left)
        publisher.mark(datetime.now(UTC))


def test_a_publisher_that_lost_a_record_does_not_vouch_ever() -> None:
    kafka = MemoryKafka(MemoryRegistry())
    kafka.refuses = lambda value: True
    with publishing(kafka) as publisher:
        publisher.publish(statement("税1号"))
        with pytest.raises(NotDelivered):
            publisher.flush()
        kafka.refuses = lambda value: False
        with pytest.raises(NotVouched, match="not delivered"):
            publisher.mark(datetime.now(UTC))
    assert kafka.values == []
