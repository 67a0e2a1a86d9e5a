"""What people open: no cell computes, no line steers a terminal, and a rejects file says what it said when it comes back."""

from __future__ import annotations

import ast
import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from consumers.commands.printing.common import _escaped
from producers.files.rows.rejects import write_rejects
from schemas.console.terminal import Console
from schemas.files.outputs import Outputs
from schemas.texts.harmless import HarmlessStream, harmless
from schemas.texts.spreadsheets import CONTROL, cell_read, cell_written
from streams.replay.diff.page import escape
from tests.unit.importing import penalty, read, write

ROOT = Path(__file__).parents[2]
ROOMS = ("producers", "schemas", "streams", "consumers", "deploy")
FORMULAS = (
    '=HYPERLINK("http://evil/","x")', "=cmd|'/c calc'!A0", "@SUM(1)", "+1", "-2+3", "\t=1+1", "\r=1+1", "＝1+1", "＋1", "－1", "＠x", " =1", "\u3000=1",
    "\u200b=1", '"=1', "'=1", "''=1+'a'", "“=1", "\n=1", "\xa0-1", "−1", "﹣1",
)  # fmt: skip
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b1m\u202e\x08\r\u2066\u200b\x00\x7f\u2028"


def modules() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


@given(
    st.one_of(
        st.text(),
        st.sampled_from(FORMULAS),
        st.builds("{}{}{}".format, *([st.sampled_from((*FORMULAS, "'", " ", "a", "1"))] * 3)),
    )
)
def test_a_cell_computes_nothing_and_comes_back(text: str) -> None:
    cell = cell_written(text)
    assert isinstance(cell, str)
    assert cell.lstrip(' \t\r\n"\u3000\xa0\u200b\ufeff')[:1] not in tuple("=+-@＝＋－＠")
    assert not CONTROL.search(cell)
    assert cell_read(cell) == CONTROL.sub("�", text)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_mended_rejects_file_says_what_the_file_said(tmp_path: Path, text: str) -> None:
    rows = [penalty(CF_BZ=f"{text}注", CF_SY=""), penalty(CF_WSH="2号", CF_FRDB=f"{text}甲", CF_SY="")]
    sent = write(tmp_path / "a.csv", rows)
    found = read(sent)
    assert len(found.refused_lines) == 2
    out = tmp_path / "r.csv"
    assert write_rejects(out, found.table, found.errors) == 2
    with out.open(encoding="utf-8-sig", newline="") as file:
        kept = list(csv.reader(file))
    assert not [cell for cells in kept for cell in cells if cell_written(cell) != cell and not cell.startswith("'")]
    place = kept[0].index("CF_SY")
    mended = tmp_path / "m.csv"
    with mended.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(
            [kept[0], *([*cells[:place], "逾期未申报", *cells[place + 1 :]] for cells in kept[1:])]
        )
    whole = read(write(tmp_path / "b.csv", [row | {"CF_SY": "逾期未申报"} for row in rows]))
    again = read(mended)
    assert [(one.record_id, one.body) for one in again.outgoing] == [
        (one.record_id, one.body) for one in whole.outgoing
    ]
    assert [(e.code, e.column) for e in again.errors] == [(e.code, e.column) for e in whole.errors]


def test_every_csv_file_is_written_by_harmless_cells() -> None:
    made_up = {
        "producers/sample/files.py",
        "deploy/commands/demo_four.py",
    }  # departments' files, which are read by nobody but publish
    writing = {name for name, text in modules() if "csv.writer(" in text or "DictWriter(" in text}
    assert {name for name, text in modules() if name in writing and "cell_written" not in text} == made_up


def test_every_console_is_ours() -> None:
    def takes(text: str) -> bool:
        nodes = ast.walk(ast.parse(text))
        return any(
            isinstance(one, ast.ImportFrom)
            and one.module == "rich.console"
            and "Console" in {n.name for n in one.names}
            for one in nodes
        )

    assert [name for name, text in modules() if takes(text)] == []


def steers(text: str) -> bool:
    return harmless(text) != text


@given(st.text())
def test_nothing_steers_a_terminal_and_json_stays_what_it_was(text: str) -> None:
    plain = harmless(text)
    assert not steers(plain)
    assert not CONTROL.search(plain)
    said = {"text": text + HOSTILE, HOSTILE: [text]}
    assert json.loads(harmless(json.dumps(said, ensure_ascii=False))) == said


def test_what_is_printed_and_what_rich_prints_is_harmless() -> None:
    stream = io.StringIO()
    guarded = HarmlessStream(stream)
    print(HOSTILE, file=guarded)
    guarded.writelines([HOSTILE, "a\r\n"])
    table = Table("甲" + HOSTILE)
    table.add_row(HOSTILE)
    console = Console(file=stream, force_terminal=False, highlight=False)  # type: ignore[arg-type]
    console.print(HOSTILE, table, markup=False)
    assert not steers(stream.getvalue())
    assert not steers(escape(HOSTILE))
    assert "<" not in escape("<script>")


def test_what_a_record_says_makes_no_line_of_its_own() -> None:
    said = "逾期\n\n行政处罚 无\r\u2028[bold]无[/bold]"
    assert _escaped({"facts": said, "fine": None}) == {
        "facts": "逾期 ⏎  ⏎ 行政处罚 无 ⏎  ⏎ \\[bold]无\\[/bold]",
        "fine": None,
    }


def test_a_hostile_file_does_not_steer_the_terminal_of_whoever_publishes_it(tmp_path: Path) -> None:
    row = penalty(CF_SY="") | {"备\x1b[2J注\x1b]0;pwned\x07": "x", "列\x9b1m": "\x1b[31m"}
    name = tmp_path / "a\x1b[2J\u202e.csv"
    write(name, [row])
    done = subprocess.run(
        [sys.executable, "-m", "xinliu", "publish", str(name), "--department", "tax", "--dry-run", "--wide", "--rejects", str(tmp_path / "r.csv")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode in (1, 2), done.stderr
    assert not steers(done.stdout + done.stderr), (done.stdout, done.stderr)


def test_a_file_that_somebody_wrote_in_is_not_lost(tmp_path: Path) -> None:
    place = tmp_path / "r.csv"
    for text in ("rows\nmended by hand", "rows\nwritten again", "rows\nwritten again", "rows\nand again"):
        if not place.exists():
            place.write_text(text)
            continue
        with Outputs({"--rejects": place}) as outputs:
            outputs.part(place).write_text(text)
            outputs.keep()
    assert place.read_text() == "rows\nand again"
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["r.csv", "r.csv.~1~", "r.csv.~2~"]
    assert [(tmp_path / name).read_text() for name in kept[1:]] == ["rows\nmended by hand", "rows\nwritten again"]
