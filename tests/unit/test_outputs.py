"""Files that commands write: never over their input, whole or not at all, in whatever way a file is named."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from schemas.errors import Retryable, UsageError
from schemas.files.outputs import Outputs
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster
from tests.commands import without_stack
from tests.unit.importing import penalty, write

AWAY = Connection(province="beijing", kafka=Cluster.of("127.0.0.1:1"), registry="http://127.0.0.1:1/apis/ccompat/v7")


def hard(folder: Path, name: str) -> Path:
    os.link(folder / "a.csv", folder / name)
    return folder / name


def soft(folder: Path, name: str) -> Path:
    (folder / name).symlink_to("a.csv")
    return folder / name


def by_a_folder(folder: Path) -> Path:
    (folder / "same").symlink_to(folder, target_is_directory=True)
    return folder / "same" / "a.csv"


NAMES: dict[str, Callable[[Path], Path]] = {
    "itself": lambda folder: folder / "a.csv",
    "relative": lambda folder: Path("a.csv"),
    "with a dot": lambda folder: Path(f"{folder}/./a.csv"),
    "from elsewhere": lambda folder: folder / ".." / folder.name / "a.csv",
    "a link": lambda folder: soft(folder, "b.csv"),
    "a linked folder": by_a_folder,
    "a hard link": lambda folder: hard(folder, "b.csv"),
    "another case, where the disk takes it for the same": lambda folder: hard(folder, "A.CSV"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the file of a department, in which the command is given."""
    write(tmp_path / "a.csv", [penalty(), penalty(CF_WSH="2号", CF_SY="")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> Any:
    app = without_stack(str(words[0]))
    return CliRunner().invoke(app, [*map(str, words), "--department", "tax", "--json"], obj=lambda: AWAY)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_output_is_the_input_by_whatever_name(folder: Path, name: Callable[[Path], Path]) -> None:
    output = name(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match="is the file that is read"), Outputs({"-o": output}, reads=[Path("a.csv")]):
        pass
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "a.csv", "--rejects"),
        ("publish", "a.csv", "--repairs"),
        ("publish", "a.csv", "--dry-run", "--rejects"),
        ("publish", "a.csv", "--dry-run", "--repairs"),
        ("receipts", "--file", "a.csv", "--rejects"),
    ],
    ids=" ".join,
)
def test_no_command_writes_over_what_it_reads(folder: Path, words: tuple[str, ...]) -> None:
    before = (folder / "a.csv").read_bytes()
    done = run(*words, "./a.csv")
    assert isinstance(done.exception, UsageError), done.output
    assert "is the file that is read" in str(done.exception)
    assert (folder / "a.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("first", "second"), [("r.csv", "./r.csv"), ("r.csv", "R.csv"), ("é.csv", "e\u0301.csv"), ("a.csv", "b.csv")]
)
def test_two_outputs_are_two_files(folder: Path, first: str, second: str) -> None:
    soft(folder, "b.csv")
    before = sorted(folder.iterdir())
    with (
        pytest.raises(UsageError, match="are one file"),
        Outputs({"--rejects": Path(first), "--repairs": Path(second)}),
    ):
        pass
    assert sorted(folder.iterdir()) == before


def test_files_that_only_look_alike_are_written(folder: Path) -> None:
    (folder / "A.csv").write_text("another one")
    done = run("publish", "a.csv", "--dry-run", "--rejects", "A.csv", "--repairs", "b.csv")
    assert done.exit_code == 1, done.output
    assert "退回原因" in (folder / "A.csv").read_text(encoding="utf-8-sig")
    assert "原值" in (folder / "b.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(("form", "earlier"), [("r.csv", "earlier"), ("r.xlsx", None)])
def test_rows_that_nobody_confirmed_leave_the_files_as_they_were(folder: Path, form: str, earlier: str | None) -> None:
    if earlier:
        (folder / form).write_text(earlier)
    before = sorted(folder.iterdir())
    done = run("publish", "a.csv", "--rejects", form, "--repairs", "m.csv")
    assert isinstance(done.exception, Retryable), done.output
    assert '"rejects_file": null' in done.stdout
    assert "no file was written" in done.stdout
    assert sorted(folder.iterdir()) == before
    assert not earlier or (folder / form).read_text() == earlier


def test_an_earlier_file_is_replaced_in_one_step_with_its_rights_and_through_its_link(folder: Path) -> None:
    place = folder / "r.csv"
    place.write_text("earlier")
    place.chmod(0o640)
    link = folder / "latest.csv"
    link.symlink_to("r.csv")
    with place.open() as reader, Outputs({"--rejects": link}, reads=[folder / "a.csv"]) as outputs:
        outputs.part(link).write_text("half of it")
        assert place.read_text() == "earlier"
        outputs.part(link).write_text("all of it")
        outputs.keep()
        assert reader.read() == "earlier", "whoever reads the earlier file reads it to its end"
    assert (place.read_text(), link.is_symlink(), place.stat().st_mode & 0o777) == ("all of it", True, 0o640)
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "latest.csv", "r.csv"]


def test_what_ends_half_way_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    new = folder / "r.csv"
    with pytest.raises(KeyboardInterrupt), Outputs({"--csv": new}) as outputs:
        outputs.part(new).write_text("half")
        raise KeyboardInterrupt
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", ["nowhere/r.csv", "a.csv/r.csv", ".", "r" * 300])
def test_what_cannot_be_written_is_said_before_anything_is_done(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"), Outputs({"--csv": folder / name}):
        pass
    done = run("publish", "a.csv", "--rejects", folder / name)
    assert isinstance(done.exception, UsageError), done.output


def test_a_pipe_and_a_device_are_written_to_and_stay(folder: Path) -> None:
    pipe, nothing = folder / "pipe", Path("/dev/null")
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text(encoding="utf-8-sig")))
    reader.start()
    assert run("publish", "a.csv", "--dry-run", "--rejects", pipe, "--repairs", nothing).exit_code == 1
    reader.join(10)
    assert "退回原因" in found[0]
    assert pipe.is_fifo()
    assert nothing.is_char_device()
