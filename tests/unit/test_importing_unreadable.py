"""What cannot be read is never empty: every column of every kind, every way in which a cell can fail to be read."""

from __future__ import annotations

import csv
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from producers.errors import RowError
from producers.files.headers import headers as headers_module
from producers.files.import_file import Import, import_file
from producers.files.rows.rejects import write_rejects
from schemas.catalogue import load
from tests.fuzz.files import workbook
from tests.unit.importing import LISTING, PENALTY, REGISTRATION

REGISTRAR = "11110000M00010014A"
KINDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "PENALTY": ("tax", PENALTY),
    "LISTING": ("tax", LISTING),
    "REGISTRATION": ("market-regulation", {**REGISTRATION, "登记机关代码": REGISTRAR}),
}
TEXTS = (
    "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", " #N/A ", "＃Ｎ／Ａ", "#n/a", "########", "Err:502",
    "=VLOOKUP(A2,名录!A:B,2,0)", '=IF(1=1,"已撤销","有效")', "=DATE(2026,1,5)", '=DISPIMG("ID_1",1)', "=_xlfn.XLOOKUP(A1;B:B;C:C)",
    "{=SUM(A1:A2)}", "=-ABS(1)", "＝IF(A1,1,2)",
    "=A1",
    "=名录!B2",
    "=2000/10000", "=@SUM(A1)",
)  # fmt: skip
CELLS: Mapping[str, str] = {
    "error": '<c r="{at}" t="e"><v>#N/A</v></c>',
    "error of a formula": '<c r="{at}" t="e"><f>1/0</f><v>#DIV/0!</v></c>',
    "error without text": '<c r="{at}" t="e"/>',
    "picture in a cell": '<c r="{at}" t="e" vm="1"><v>#VALUE!</v></c>',
    "formula": '<c r="{at}"><f>IF(1=1,"已撤销","有效")</f></c>',
    "formula, empty value": '<c r="{at}"><f>DATE(2026,1,5)</f><v/></c>',
    "formula, open and closed value": '<c r="{at}"><f>A1</f><v></v></c>',
    "formula shared": '<c r="{at}"><f t="shared" si="0"/></c>',
    "formula of text without value": '<c r="{at}" t="str"><f>A1</f></c>',
    "formula in an array": '<c r="{at}"><f t="array" ref="{at}">A1</f><v> </v></c>',
    "formula, prefixed": '<x:c xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" r="{at}"><x:f>A1</x:f></x:c>',
    "formula without a place": "<c><f>A1</f></c>",
}


def _columns(kind: str) -> list[str]:
    """One header for each field that this kind of file can have."""
    known = Path(headers_module.__file__).with_name("headers.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(known.splitlines())
    base = KINDS[kind][1]
    fields = {headers_module.field_of(kind, header): header for header in base}
    for row in rows:
        if row["kind"] in (kind, "ANY") and row["field"] != "-":
            fields.setdefault(row["field"], row["header"])
    return [header for field, header in fields.items() if field]


def _letters(column: int) -> str:
    return (chr(64 + column // 26) if column >= 26 else "") + chr(65 + column % 26)


def _xlsx(
    path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]], special: Sequence[tuple[str, str]]
) -> Path:
    lines = []
    text = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'.format
    for number, row in enumerate([dict(zip(columns, columns, strict=True)), *rows], 1):
        odd, xml = special[number - 2] if number > 1 else ("", "")
        cells = [
            xml.format(at=f"{_letters(place)}{number}")
            if column == odd and xml
            else text(f"{_letters(place)}{number}", escape(row.get(column, "")))
            for place, column in enumerate(columns)
        ]
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    path.write_bytes(workbook("".join(lines)))
    return path


def _read(path: Path, kind: str) -> Import:
    return import_file(path, load().department("beijing", KINDS[kind][0]), load())


def _all_are_refused(found: Import, expected: Sequence[str], codes: set[str], first: int = 2) -> None:
    assert [statement.line for statement in found.outgoing] == []
    by_line: defaultdict[int, list[RowError]] = defaultdict(list)
    for error in found.errors:
        by_line[error.line].append(error)
    for line, column in enumerate(expected, first):
        (error,) = by_line[line]  # nothing that follows from it is said
        assert (error.column, error.code in codes) == (column, True), error
        assert error.value, "what cannot be read is shown"


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_are_good_without_it(tmp_path: Path, kind: str) -> None:
    columns = _columns(kind)
    found = _read(_xlsx(tmp_path / "a.xlsx", columns, [KINDS[kind][1]], [("", "")]), kind)
    assert (len(found.outgoing), found.errors) == (1, ())


def _as_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Path:
    path = path.with_suffix(".csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _as_json(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Path:
    path = path.with_suffix(".jsonl")
    lines = ({column: row.get(column) for column in columns} for row in rows)
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", [_as_csv, _as_json])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_and_formulas_that_came_as_text(
    tmp_path: Path, kind: str, form: Callable[[Path, Sequence[Mapping[str, Any]], Sequence[str]], Path]
) -> None:
    columns = _columns(kind)
    expected = [column for column in columns for _ in TEXTS]
    rows = [{**KINDS[kind][1], column: text} for column in columns for text in TEXTS]
    found = _read(form(tmp_path / "a", rows, columns), kind)
    codes = {"CELL_ERROR", "FORMULA_WITHOUT_VALUE"}
    _all_are_refused(found, expected, codes, first=1 if form is _as_json else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_of_a_workbook(tmp_path: Path, kind: str) -> None:
    columns = _columns(kind)
    special = [(column, xml) for column in columns for xml in CELLS.values()]
    rows = [KINDS[kind][1]] * len(special)
    found = _read(_xlsx(tmp_path / "a.xlsx", columns, rows, special), kind)
    _all_are_refused(found, [column for column, _ in special], {"CELL_ERROR", "FORMULA_WITHOUT_VALUE"})
    # Nothing is mended by a way through the rejects.
    write_rejects(tmp_path / "r.csv", found.table, found.errors)
    assert _read(tmp_path / "r.csv", kind).outgoing == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_said_twice_in_an_object(tmp_path: Path, kind: str) -> None:
    columns = _columns(kind)
    path = tmp_path / "a.jsonl"
    lines = []
    for column in columns:
        whole = json.dumps({one: KINDS[kind][1].get(one) for one in columns}, ensure_ascii=False)
        lines.append(
            f"{whole[:-1]}, {json.dumps(column, ensure_ascii=False)}: {'null' if len(lines) % 2 else whole.count('a')}}}"
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    found = _read(path, kind)
    assert (found.outgoing, {error.code for error in found.errors}) == ((), {"NAME_TWICE"})
    assert len(found.refused_lines) == len(columns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_is_merged_with_its_neighbour_says_nothing_of_the_second_column(tmp_path: Path, kind: str) -> None:
    columns = _columns(kind)
    base = KINDS[kind][1]
    for place in range(1, len(columns)):
        path = tmp_path / f"{place}.xlsx"
        row = {column: text for column, text in base.items() if column != columns[place]}
        row[columns[place - 1]] = base.get(columns[place - 1]) or "某"
        _xlsx(path, columns, [row], [("", "")])
        _merge(path, f"{_letters(place - 1)}2:{_letters(place)}2")
        found = _read(path, kind)
        assert found.outgoing == ()
        assert (columns[place], "MERGED_ACROSS") in [(error.column, error.code) for error in found.errors]


def test_a_merged_cell_gives_its_value_to_every_row_that_it_covers(tmp_path: Path) -> None:
    columns = _columns("PENALTY")
    whole = [{**PENALTY, "CF_WSH": f"{number}号", "状态": ""} for number in range(4)]
    status = {**whole[0], "状态": "已撤销"}
    rows = [status, whole[1], {}, whole[2], whole[3]]
    path = _xlsx(tmp_path / "a.xlsx", columns, rows, [("", "")] * len(rows))
    _merge(path, f"{_letters(columns.index('状态'))}2:{_letters(columns.index('状态'))}5")
    found = _read(path, "PENALTY")
    assert not found.errors
    frame = {repair.line: repair.made for repair in found.repairs if repair.code == "MERGED_CELL"}
    assert frame == {3: "已撤销", 5: "已撤销"}, "a row of its own that it covers; the empty one between is none"
    assert len({statement.record_id for statement in found.outgoing}) == 4


def test_a_merged_cell_that_cannot_be_read_refuses_every_row_that_it_covers(tmp_path: Path) -> None:
    columns = _columns("PENALTY")
    rows = [{**PENALTY, "CF_WSH": f"{number}号"} for number in range(3)]
    path = _xlsx(tmp_path / "a.xlsx", columns, rows, [("状态", CELLS["formula"]), ("", ""), ("", "")])
    _merge(path, f"{_letters(columns.index('状态'))}2:{_letters(columns.index('状态'))}3")
    found = _read(path, "PENALTY")
    assert [statement.line for statement in found.outgoing] == [4]
    assert [(error.line, error.column, error.code) for error in found.errors] == [
        (2, "状态", "FORMULA_WITHOUT_VALUE"),
        (3, "状态", "FORMULA_WITHOUT_VALUE"),
    ]


def _merge(path: Path, reference: str) -> None:
    _edit(path, "</sheetData>", f'</sheetData><mergeCells count="1"><mergeCell ref="{reference}"/></mergeCells>')


def _edit(path: Path, old: str, new: str, part: str = "xl/worksheets/sheet1.xml") -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = parts[part].decode().replace(old, new).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("cell", "sent"),
    [
        pytest.param('<c r="{at}" t="str"><f>""</f><v></v></c>', 1, id="an empty text, calculated by Excel"),
        pytest.param('<c r="{at}"><f>1</f><v>0.2</v></c>', 1, id="a number, calculated"),
        pytest.param('<c r="{at}"><f>0</f><v>0</v></c>', 1, id="a zero, calculated"),
    ],
)
def test_a_formula_with_its_value_is_read(tmp_path: Path, cell: str, sent: int) -> None:
    columns = _columns("PENALTY")
    path = _xlsx(tmp_path / "a.xlsx", columns, [PENALTY], [("CF_NR_FK", cell)])
    assert len(_read(path, "PENALTY").outgoing) == sent


@pytest.mark.parametrize(
    "cell", ['<c r="{at}"><f>2000/10000</f><v>0</v></c>', '<c r="{at}" t="str"><f>A1</f><v></v></c>']
)
def test_a_program_that_leaves_calculating_to_excel_has_stored_no_value(tmp_path: Path, cell: str) -> None:
    columns = _columns("PENALTY")
    path = _xlsx(tmp_path / "a.xlsx", columns, [PENALTY], [("CF_NR_FK", cell)])
    _edit(path, "</workbook>", '<calcPr calcId="124519" fullCalcOnLoad="1"/></workbook>', "xl/workbook.xml")
    found = _read(path, "PENALTY")
    assert [(error.column, error.code) for error in found.errors] == [("CF_NR_FK", "FORMULA_WITHOUT_VALUE")]
