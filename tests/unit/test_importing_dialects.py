"""Variants of encodings, separators, quotation marks and JSON: read in their one reading, or named for what they are."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UsageError
from tests.unit.importing import NAMES, listing
from tests.unit.test_importing_variants import THREE, good, grid, publish, stated, text

LINES = text(
    grid(*({NAMES.get(name, name): cell for name, cell in good(number).items()} for number in range(3)))
).split("\r\n")


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("others", ["gbk", "gb18030"])
def test_a_file_of_two_encodings_is_never_read_in_one(place: int, others: str, tmp_path: Path) -> None:
    for padding in ("", "京", "京京"):  # of some lengths, UTF-8 is whole as GBK too
        lines = [line.replace("张某", f"张某{padding}") for line in LINES]
        raw = [line.encode("utf-8" if at == place else others) for at, line in enumerate(lines)]
        with pytest.raises(UsageError, match=f"第 {place + 1} 行"):
            publish(tmp_path / "a.csv", b"\r\n".join(raw))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda rows: codecs.BOM_UTF32_LE + text(rows).encode("utf-32-le"), "UTF-32"),
        (lambda rows: text([[NAMES.get(cell, cell) for cell in rows[0]], *rows[1:]]).encode("utf-7"), "UTF-7"),
        (lambda rows: text([[NAMES.get(cell, cell) for cell in rows[0]], *rows[1:]]).encode("hz"), "HZ"),
        (lambda rows: json.dumps(dict(zip(*rows[:2], strict=True)), ensure_ascii=False).encode(), r"\.jsonl"),
    ],
)
def test_a_file_is_named_for_what_it_is(write: Callable[[list[list[str]]], bytes], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        publish(tmp_path / "a.csv", write(THREE))


READ: dict[str, Callable[[], str]] = {
    "a title with commas over semicolons": lambda: "2025年9月行政处罚信息,公示\n" + text(THREE, ";"),
    "a title over tabs": lambda: "2025年9月行政处罚信息\n" + text(THREE, "\t"),
    "a title with semicolons over commas": lambda: "填报单位：甲; 填报人：乙; 日期：丙\n" + text(THREE),
    "blanks before quotation marks": lambda: "\n".join(", ".join(f'"{cell}"' for cell in row) for row in THREE),
    "apostrophes round every cell": lambda: "\n".join(",".join(f"'{cell}'" for cell in row) for row in THREE),
    "Chinese quotation marks round every cell": lambda: "\n".join(
        ",".join(f"“{cell}”" for cell in row) for row in THREE
    ),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_separators_and_quotation_marks(content: Callable[[], str], tmp_path: Path) -> None:
    expected = [one.body for one in publish(tmp_path / "good.csv", text(THREE)).outgoing]
    assert [one.body for one in publish(tmp_path / "a.csv", content()).outgoing] == expected


def test_objects_of_json_in_ways_of_their_own(tmp_path: Path) -> None:
    lines = [json.dumps(good(number), ensure_ascii=False) for number in range(2)]
    assert len(publish(tmp_path / "a.jsonl", "\n".join(f"\ufeff{line}" for line in lines) + "\n\x1a").outgoing) == 2
    for content, says in (("[\n" + ",\n".join(lines) + "\n]", "行末的逗号"), (lines[0] + "\n" + "".join(lines), "一行有几个对象"),
                          (lines[0] + "\n" + lines[1][:-9], "可能被截断")):  # fmt: skip
        found = publish(tmp_path / "a.jsonl", content)
        assert says in found.errors[0].reason


def test_a_list_entry_whose_title_says_what_its_rows_say(tmp_path: Path) -> None:
    row = listing(移出日期="2025-10-01", 移出事由="期满")
    content = "移出严重失信主体名单公示表\n" + text(grid(row))
    assert stated(publish(tmp_path / "a.csv", content))["listing"]["removed_on"] is not None
    with pytest.raises(UsageError, match="第 1 行"):
        publish(tmp_path / "a.csv", content.replace("2025-10-01,", ",").replace("期满", ""))
