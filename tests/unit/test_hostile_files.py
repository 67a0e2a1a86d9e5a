"""Files made to harm whoever reads them: each of these once ended the import otherwise than in one line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from itertools import chain
from pathlib import Path

import psutil
import pytest

from producers.files.formats import reader as reading
from producers.files.formats import workbook as workbook_reader
from producers.files.formats.reader import read_table
from producers.files.rows.rejects import write_rejects
from producers.files.values.values import CellRefused, as_time, read_money
from schemas.errors import UsageError
from tests.fuzz.files import workbook
from tests.unit.importing import PENALTY, bodies, penalty, read, told, write

GOOD = '<row><c t="inlineStr"><is><t>甲</t></is></c></row><row><c><v>1</v></c></row>'
CORNERS = '<row r="1"><c r="A1" t="inlineStr"><is><t>x</t></is></c><c r="XFD1048576"><v>1</v></c></row>'
BOMB = "<si><t>" + "x" * 1_000_000 + "</t></si>"


def small(path: Path, sheet: str, strings: str = "") -> Path:
    path.write_bytes(workbook(sheet, strings))
    assert path.stat().st_size < 10_000
    return path


@pytest.mark.parametrize(
    "sheet",
    [
        pytest.param(CORNERS, id="two cells at opposite corners"),
        pytest.param('<row r="1"><c r="A99999999999"><v>1</v></c></row>', id="a row beyond every number"),
    ],
)
def test_a_small_workbook_of_terabytes_is_refused_and_nothing_else_happens(tmp_path: Path, sheet: str) -> None:
    with pytest.raises(UsageError, match=r"bomb\.xlsx"):
        read_table(small(tmp_path / "bomb.xlsx", sheet))


@pytest.mark.timeout(60)
def test_the_reader_of_workbooks_has_a_gigabyte_and_a_minute(tmp_path: Path) -> None:
    """Asked of the process, for a workbook would have to fill them; what happens then, the next test says with less."""
    pipe = tmp_path / "a.xlsx"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-I", workbook_reader.__file__, str(pipe)], stdout=subprocess.DEVNULL
    ) as reader:
        # Returns once the reader opens what it is to read: its limits are set by then.
        with pipe.open("wb"):
            limits = {kind: resource.prlimit(reader.pid, kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)}
        reader.kill()
    assert limits == {resource.RLIMIT_AS: (1 << 30, 1 << 30), resource.RLIMIT_CPU: (60, 60)}


def test_one_long_string_in_every_cell_ends_the_reader_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 GB of text in 3 kB. With a quarter of a gigabyte instead of a whole one, which takes longer to fill."""
    script = Path(workbook_reader.__file__).read_text(encoding="utf-8")
    less = tmp_path / "workbook.py"
    less.write_text(script.replace("\n_MEMORY = 1 << 30\n", "\n_MEMORY = 1 << 28\n"), encoding="utf-8")
    assert less.read_text(encoding="utf-8") != script
    monkeypatch.setattr(workbook_reader, "__file__", str(less))
    assert read_table(small(tmp_path / "good.xlsx", GOOD)).rows == ((2, (1,)),)
    every_cell = "<row>" + '<c t="s"><v>0</v></c>' * 16_000 + "</row>"
    with pytest.raises(UsageError, match=r"bomb\.xlsx: .*需要超出限度的内存或时间"):
        read_table(small(tmp_path / "bomb.xlsx", every_cell, BOMB))


def test_a_workbook_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zip.xlsx"
    text = ("x" * 1_000_000 for _ in range(300))
    path.write_bytes(workbook(chain(['<row r="1"><c t="inlineStr"><is><t>'], text, ["</t></is></c></row>"])))
    with pytest.raises(UsageError, match="需要超出限度的内存"):
        read(path)


@pytest.mark.timeout(60)
def test_a_cell_far_to_the_right_costs_no_time(tmp_path: Path) -> None:
    path = tmp_path / "far.xlsx"
    path.write_bytes(workbook('<row><c t="inlineStr"><is><t>甲</t></is></c></row><row><c r="ZZZZ9"><v>1</v></c></row>'))
    ((_, code),) = [(fault.line, fault.code) for fault in read_table(path).faults]
    assert code == "ROW_TOO_LONG"


def test_a_workbook_that_begins_below_and_to_the_right_keeps_its_places(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    cell = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'.format
    rows = f'<row r="3">{cell("C3", "甲")}{cell("E3", "乙")}</row><row r="6">{cell("E6", "1")}</row>'
    path.write_bytes(workbook(rows))
    table = read_table(path)
    assert table.headers == ("", "", "甲", "", "乙")
    assert table.rows == ((6, ("", "", "", "", "1")),)


@pytest.mark.parametrize("content", [b",,,\n,,\n", b"\t\n", b",", b'""', b"\xef\xbb\xbf,"])
def test_a_table_of_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read(path)


def test_half_a_character_is_told_and_its_neighbours_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [penalty(CF_WSH="一"), penalty(CF_SY="\ud800"), {**penalty(), "\udfff": "x"}, penalty(CF_SY="\\ud800")]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    found = read(path)
    assert [(line, code) for line, _, code in told(found)] == [(2, "NOT_TEXT"), (3, "NOT_TEXT")]
    assert len(bodies(found)) == 2
    write_rejects(tmp_path / "r.csv", found.table, found.errors)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        pytest.param("版本号", "9" * 5000, "CELL_TOO_LONG", id="more digits than Python reads"),
        pytest.param("更新时间", "1" + " " * 60_000 + "1", "CELL_TOO_LONG", id="a time of 60,000 spaces"),
        pytest.param("CF_WSH", "a" + "\u0301\u0316" * 8_000, "CELL_TOO_LONG", id="16,000 accents on a letter"),
        pytest.param("CF_SY", "甲" * 33_000, "CELL_TOO_LONG", id="longer than a cell of Excel"),
        pytest.param("更新时间", "0001-01-01 00:00", "TIME_FORM", id="before the first hour of UTC"),
        pytest.param("更新时间", "9999-12-31 23:59-08:00", "TIME_FORM", id="after the last hour of UTC"),
    ],
)
def test_a_cell_that_asks_for_hours_or_for_what_is_none(tmp_path: Path, column: str, value: str, code: str) -> None:
    rows = [penalty(CF_WSH="一"), {**penalty(CF_WSH="二"), column: value}]
    found = read(write(tmp_path / "a.csv", [{"版本号": "1", **row} for row in rows]))
    assert [error for error in told(found) if error[2] == code] == [(3, column, code)]
    assert len(bodies(found)) == 1


def test_a_json_number_of_a_million_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = json.dumps({**PENALTY, "CF_NR_FK": 7}, ensure_ascii=False)
    path.write_text(f"{line.replace(': 7', ': 1.' + '0' * 1_000_001)}\n{line}", encoding="utf-8")
    assert told(read(path)) == [(1, "CF_NR_FK", "CELL_TOO_LONG")]


def test_an_amount_with_forty_decimals_of_nothing() -> None:
    amount = read_money("1." + "0" * 40).value
    assert amount is not None
    assert amount.as_tuple().exponent == -6


def test_the_last_hours_of_time() -> None:
    with pytest.raises(CellRefused):
        as_time("0001-01-01")


def test_every_row_of_a_contradiction_is_told_and_the_message_stays_short(tmp_path: Path) -> None:
    rows = [penalty(CF_SY=f"事实{n % 400}") for n in range(401)]
    found = read(write(tmp_path / "a.csv", rows))
    assert len(found.errors) == 401, "the row that equals the first one is refused with it"
    assert (found.outgoing, found.duplicates) == ((), 0)
    assert max(len(error.reason) for error in found.errors) < 100


@pytest.mark.parametrize(
    ("name", "limit", "content"),
    [
        ("_MOST_ROWS", 3, b"a,b\n" + b"1,2\n" * 9),
        ("_MOST_COLUMNS", 3, b"a,b,c,d\n1,2,3,4\n"),
        ("_MOST_CELLS", 9, b"a,b\n" + b"1,2\n" * 9),
        ("_LARGEST_FILE", 9, b"a,b\n" + b"1,2\n" * 9),
    ],
)
def test_a_file_beyond_the_limits_is_refused_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int, content: bytes
) -> None:
    monkeypatch.setattr(reading, name, limit)
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="超过"):
        read_table(path)


def test_objects_without_a_key_in_common_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({f"k{n}-{k}": 1 for k in range(10)}) for n in range(200)), encoding="utf-8")
    with pytest.raises(UsageError, match=r"超过.*列"):
        read_table(path)


def test_numbers_that_no_workbook_holds_are_written_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    odd = ["NaN", "Infinity", "1e999999", str(10**40), '"\\u0001"', f'"{"甲" * 33_000}"']
    line = json.dumps({**PENALTY, "备注": 7}, ensure_ascii=False)
    path.write_text("\n".join(line.replace(": 7", f": {one}") for one in odd), encoding="utf-8")
    found = read(path)
    assert write_rejects(tmp_path / "r.xlsx", found.table, found.errors) == len(found.refused_lines)
    assert len(read_table(tmp_path / "r.xlsx").rows) == len(found.refused_lines)


def test_the_reader_of_workbooks_is_gone_when_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.xlsx"
    path.write_bytes(workbook("<row>" + "<c><v>1</v></c>" * 2_000 + "</row>"))
    before = set(psutil.Process().children())  # the servers of other tests
    with pytest.raises(UsageError, match=r"超过.*列"):
        read_table(path)
    assert set(psutil.Process().children()) <= before
