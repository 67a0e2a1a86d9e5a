"""`xinliu publish` of several files, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from producers.files import named_files
from schemas.errors import Interrupted, UsageError
from schemas.memory_registry import MemoryRegistry
from tests.memory_kafka import PARTITIONS, MemoryKafka
from tests.unit.importing import write
from tests.unit.test_vouching import command, row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, something that somebody has open, and something hidden."""
    folder = tmp_path / "报送"
    folder.mkdir()
    for number, name in enumerate(("b.csv", "a.csv", "x1.csv")):
        write(folder / name, [row(number)])
    for name in ("~$a.xlsx", ".DS_Store"):
        (folder / name).write_bytes(b"\0")
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b.csv"], "b.csv"),
        (["b.csv", "a.csv"], "b.csv a.csv"),
        ([""], "a.csv b.csv x1.csv"),
        (["*.csv"], "a.csv b.csv x1.csv"),
        (["x*.csv", "[ab].csv"], "x1.csv a.csv b.csv"),
        (["b.csv", ""], "b.csv a.csv x1.csv"),
        (["b.csv", "../报送/b.csv", "b.*"], "b.csv"),
        (["none.csv"], "none.csv"),
    ],
)
def test_files_folders_and_patterns(folder: Path, names: list[str], expected: str) -> None:
    assert [path.name for path in named_files([f"{folder}/{name}" for name in names])] == expected.split()


def test_a_file_whose_name_is_like_a_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "2025[1].csv", [row(1)])
    assert named_files([str(path)]) == [path]


def test_nothing_is_vouched_for_that_is_not_read(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no file fits .*y\*\.csv"):
        named_files([f"{folder}/y*.csv"])
    (folder / "旧").mkdir()
    with pytest.raises(UsageError, match=r"holds folders \(旧\)"):
        named_files([str(folder)])
    with pytest.raises(UsageError, match="holds no files"):
        named_files([str(folder / "旧")])


def test_several_files_are_one_run_with_one_marker(folder: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    write(folder / "c.csv", [row(7), row(8, CF_JDRQ="bad")])
    done = command(kafka, folder)
    assert done.exit_code == 1, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    said = [name for name, _ in kafka.said()]
    assert said == ["RefusedRow"] + ["Statement"] * 4 + ["Marker"] * PARTITIONS
    assert (told["rows"], told["sent"], told["refused"], told["kind"]) == (5, 4, 1, "PENALTY")
    assert [Path(file["file"]).name for file in told["files"]] == ["a.csv", "b.csv", "c.csv", "x1.csv"]
    assert [file["refused"] for file in told["files"]] == [0, 0, 1, 0]
    assert [(Path(one["file"]).name, one["line"]) for one in told["errors"]] == [("c.csv", 3)]
    assert [(Path(one["file"]).name, one["line"]) for one in told["refusals"]] == [("c.csv", 3)]


def test_one_file_is_told_of_as_ever(folder: Path) -> None:
    told = json.loads(command(MemoryKafka(MemoryRegistry()), folder / "a.csv").stdout)
    assert told["file"] == told["files"][0]["file"] == str(folder / "a.csv")
    assert (told["kind"], told["format"], told["rows"]) == ("PENALTY", "CSV", 1)
    bad = write(folder / "bad.csv", [row(1, CF_JDRQ="bad")])
    told = json.loads(command(MemoryKafka(MemoryRegistry()), bad).stdout)
    assert [one["line"] for one in told["errors"]] == [one["line"] for one in told["refusals"]] == [2]
    assert not [one for one in (*told["errors"], *told["refusals"]) if "file" in one]


def test_nothing_is_sent_when_one_file_cannot_be_read(folder: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    (folder / "z.csv").write_text("甲,乙\n1,2\n", encoding="utf-8")
    done = command(kafka, folder)
    assert isinstance(done.exception, UsageError)
    assert "z.csv" in str(done.exception)
    assert kafka.values == []


@pytest.mark.parametrize("option", ["--rejects", "--repairs"])
def test_files_of_rows_are_about_one_file(folder: Path, option: str) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    done = command(kafka, folder, option, str(folder.parent / "out.csv"))
    assert isinstance(done.exception, UsageError)
    assert "are about the rows of one file, and these are 3" in str(done.exception)
    assert kafka.values == []


@pytest.mark.parametrize("after", range(6))
def test_ctrl_c_says_what_was_sent(tmp_path: Path, after: int) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    produce = kafka.produce

    def interrupted(*args: Any, **rest: Any) -> None:
        if len(kafka.values) == after:
            raise KeyboardInterrupt
        produce(*args, **rest)

    kafka.produce = interrupted  # type: ignore[method-assign]
    done = command(kafka, write(tmp_path / "a.csv", [row(number) for number in range(4)]))
    assert isinstance(done.exception, Interrupted)
    assert done.exception.exit_code == 130
    sent = min(after, 4)
    assert str(done.exception) == (
        f"interrupted: {sent} of 4 sent and confirmed, nothing is vouched for; publish the same file again"
    )
