"""Whatever people put round a table (titles, notes, numbers, sheets, merged cells, blank rows), its rows are read the same."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from producers.files.import_file import Import, import_file
from schemas.catalogue import load
from schemas.identifiers.uscc import generate
from tests.examples import examples
from tests.unit.importing import NAMES, TAX, penalty

TITLES = [
    "2025年9月行政处罚信息表",
    "填报单位：国家税务总局北京市税务局",
    "（一）基本情况",
    "单位：万元",
    "填报日期：2025年9月3日",
    "附件1",
]
NOTES = [
    "合计",
    "制表人：张三",
    "第1页 共1页",
    "注：数据来源于征管系统",
    "—以下空白—",
    "（盖章）",
    "以上共三条",
    "审核人：李四",
]
SHEETS = {"封面": [["行政处罚信息"], ["某局"]], "字典": [["处罚类别", "说明"], ["罚款", "金钱"]], "Sheet3": []}
EQUAL = ("CF_CFJG", "CF_SJLY", "CF_YJ", "CF_JDRQ")
"""Columns that hold the same in every row: their cells may be merged."""

Grid = list[list[str]]


@dataclass(frozen=True)
class Decoration:
    """What stands round a table."""

    titles: tuple[str, ...]
    notes: tuple[str, ...]
    order: tuple[int, ...]
    codes: bool
    both: bool
    numbered: bool
    blank: tuple[bool, ...]
    again: bool
    sheets: tuple[str, ...]
    before: bool
    merged: tuple[str, ...]
    left: int


def rows_of(count: int) -> list[dict[str, str]]:
    return [
        penalty(CF_XDR_MC=f"北京第{number}商贸有限公司", CF_XDR_SHXYM=generate(300 + number), CF_WSH=f"京税罚〔2025〕{number + 1}号")
        for number in range(count)
    ]  # fmt: skip


COLUMNS = list(rows_of(1)[0])


@st.composite
def decorations(draw: st.DrawFn) -> Decoration:
    some = lambda options: tuple(draw(st.lists(st.sampled_from(options), unique=True, max_size=3)))  # noqa: E731
    return Decoration(
        titles=some(TITLES), notes=some(NOTES), order=tuple(draw(st.permutations(range(len(COLUMNS))))),
        codes=draw(st.booleans()), both=draw(st.booleans()), numbered=draw(st.booleans()),
        blank=tuple(draw(st.lists(st.booleans(), min_size=4, max_size=4))), again=draw(st.booleans()),
        sheets=some(list(SHEETS)), before=draw(st.booleans()), merged=some(list(EQUAL)), left=draw(st.integers(0, 2)),
    )  # fmt: skip


def decorated(rows: Sequence[Mapping[str, str]], how: Decoration) -> Grid:
    """Return the table as a person might send it."""
    columns = [COLUMNS[place] for place in how.order]
    names = columns if how.codes else [NAMES.get(column, column) for column in columns]
    others = [NAMES.get(column, column) for column in columns] if how.codes else columns
    grid: Grid = [[title] for title in how.titles] + [names]
    if how.both:
        grid.append(others)
    if how.numbered:
        grid.append([str(number + 1) for number in range(len(columns))])
    for number, row in enumerate(rows):
        if how.blank[number]:
            grid.append([])
        if how.again and number:
            grid.append(names)
        grid.append([row[column] for column in columns])
    return grid + [[note] for note in how.notes]


def spans(grid: Grid, how: Decoration) -> Iterator[tuple[int, int, int]]:
    """Yield column, first and last row of cells that follow each other and may be merged."""
    columns = [COLUMNS[place] for place in how.order]
    whole = [
        number
        for number, row in enumerate(grid)
        if len(row) == len(columns) and row[columns.index("CF_NR_FK")] == "0.2"
    ]
    if len(whole) > 1 and whole[-1] - whole[0] == len(whole) - 1:
        yield from ((columns.index(name), whole[0], whole[-1]) for name in how.merged)


def as_csv(path: Path, grid: Grid) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(grid)
    return path


def as_workbook(path: Path, grid: Grid, how: Decoration) -> Path:
    with xlsxwriter.Workbook(str(path)) as book:
        beside = {name: SHEETS[name] for name in how.sheets}
        for name, rows in {**beside, "数据": grid}.items() if how.before else {"数据": grid, **beside}.items():
            sheet, left = book.add_worksheet(name), how.left if name == "数据" else 0
            for number, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if cell:
                        sheet.write_string(number, column + left, cell)
            for column, first, last in spans(grid, how) if name == "数据" else ():
                sheet.merge_range(first, column + left, last, column + left, grid[first][column])
    return path


def read(path: Path) -> Import:
    return import_file(path, TAX, load())


@given(how=decorations(), count=st.integers(1, 4))
@examples(40)
def test_the_rows_are_the_same_whatever_stands_round_them(how: Decoration, count: int) -> None:
    rows = rows_of(count)
    with TemporaryDirectory() as folder:
        plain = read(as_csv(Path(folder, "plain.csv"), [COLUMNS, *(list(row.values()) for row in rows)]))
        assert len(plain.outgoing) == count
        grid = decorated(rows, how)
        for path in (as_csv(Path(folder, "a.csv"), grid), as_workbook(Path(folder, "a.xlsx"), grid, how)):
            found = read(path)
            assert [one.body for one in found.outgoing] == [one.body for one in plain.outgoing], path.suffix
            assert [error.code for error in found.errors] == ["NO_RECORD"] * len(how.notes), "each note is told once"
            shown = {passed.text for passed in found.table.passed}
            assert all(any(title[:20] in text for text in shown) for title in how.titles), (
                "no title is dropped without a word"
            )
            assert not set(how.sheets) - {
                name for name in SHEETS if any(name in told for told in found.table.remarks)
            } or (path.suffix == ".csv")
