"""`xinliu publish` of several files, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from producers.commands.inputs import named_files
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import Interrupted, UsageError
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


def test_of_several_files_each_has_its_file_in_a_folder(folder: Path) -> None:
    out = folder.parent / "退回"
    write(folder / "c.csv", [row(7), row(8, CF_JDRQ="bad")])
    write(folder / "c.txt", [row(9, CF_JDRQ="2025/9/1"), row(10, CF_SY="")], delimiter="\t")
    done = command(MemoryKafka(MemoryRegistry()), folder, "--rejects", str(out), "--repairs", f"{out}-2")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.exit_code, told["rejects_file"], told["repairs_file"]) == (1, str(out), f"{out}-2")
    names = ["a.csv", "b.csv", "c-2.csv", "c.csv", "x1.csv"]
    assert (
        sorted(path.name for path in out.iterdir()) == sorted(path.name for path in Path(f"{out}-2").iterdir()) == names
    )
    lines = {name: (out / name).read_text("utf-8-sig").count("\n") for name in names}
    assert lines == {"a.csv": 1, "b.csv": 1, "c.csv": 2, "c-2.csv": 2, "x1.csv": 1}
    assert "DATE_FORM" in (out / "c.csv").read_text("utf-8-sig")
    assert "2025/9/1" in (Path(f"{out}-2") / "c-2.csv").read_text("utf-8-sig")
    again = command(MemoryKafka(MemoryRegistry()), out, "--rejects", str(out.parent / "新"))
    assert (again.exit_code, json.loads(again.stdout)["refused"]) == (1, 2), "what came back is published as it is"


def test_a_folder_that_holds_the_input_is_no_place_for_what_is_told(folder: Path) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for option in ("--rejects", "--repairs"):
        done = command(kafka, folder, option, str(folder))
        assert isinstance(done.exception, UsageError)
        assert "is the file that is read" in str(done.exception)
    done = command(kafka, folder, "--rejects", str(folder.parent / "x"), "--repairs", str(folder.parent / "x"))
    assert "are one file: name two" in str(done.exception)
    assert kafka.values == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (folder.parent / "x").exists(), "a folder in which nothing came to stand is gone again"


@pytest.mark.parametrize("option", ["--rejects", "--repairs"])
def test_of_several_files_nothing_is_told_in_one(folder: Path, option: str) -> None:
    kafka = MemoryKafka(MemoryRegistry())
    done = command(kafka, folder, option, str(folder.parent / "out.csv"))
    assert isinstance(done.exception, UsageError)
    assert "is one file, and these are 3: name a folder" in str(done.exception)
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
