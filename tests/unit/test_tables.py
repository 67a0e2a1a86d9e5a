"""Tables: nothing is cut off, whatever the terminal's width; what is left out is told."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from schemas.commands.catalogue import SUBJECTS
from schemas.console.tables import print_table
from tests.commands import run
from tests.examples import examples
from tests.unit.importing import write
from tests.unit.test_vouching import row

ROOMS = ("producers", "streams", "consumers", "deploy", "schemas")
OF_THEIR_OWN = {"schemas/console/tables.py", "consumers/commands/exchange.py", "consumers/commands/printing/mutual.py"}
"""Modules that make a table otherwise than by print_table; what they print is looked at below."""

PROVINCES = ("内蒙古自治区", "新疆维吾尔自治区", "河北省", "黑龙江省")
CELL = {
    "state": "DIFFERS", "lag_records": 1_234_567, "lag_seconds": 987_654.0, "published": 12, "applied": 3, "open": 12_345, "overdue": 678,
    "differs": ["market-regulation", "ecological-environment", "transport"], "acknowledged_at": datetime(2026, 11, 23, tzinfo=UTC),
}  # fmt: skip

TITLES = ("entry", "received", "state", "domain", "entity", "reasons")
ROW = (
    "market-regulation/1/123456",
    "2026-11-23 10:00:00+08:00",
    "OPEN",
    "market",
    "91110000M60003043C",
    "USCC_CHECK_DIGIT",
)


def shown(rows: list[tuple[str, ...]], width: int, *, wide: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width)
    texts = [[Text(cell) for cell in row] for row in rows]
    print_table(console, TITLES, texts, least=("domain", "received"), text=("reasons",), wide=wide)
    return out.getvalue().splitlines()


def test_columns_that_do_not_fit_are_named() -> None:
    lines = shown([ROW], 80)
    assert max(map(cell_len, lines)) <= 80
    assert lines[-1] == "left out: received, domain (--wide shows them)"
    assert lines[2].split() == [
        "market-regulation/1/123456",
        "│",
        "OPEN",
        "│",
        "91110000M60003043C",
        "│",
        "USCC_CHECK_DIGIT",
    ]


def test_wide_has_all_in_one_line() -> None:
    for width in (20, 80, 300):
        lines = shown([ROW], width, wide=True)
        assert len(lines) == 3
        assert all(cell in lines[2] for cell in ROW)


def test_what_fits_is_whole() -> None:
    lines = shown([ROW], 160)
    assert len(lines) == 3
    assert all(cell in lines[2] for cell in ROW)


@given(
    cells=st.lists(st.text(alphabet="abc京 -/", max_size=60), min_size=6, max_size=6),
    width=st.integers(40, 200),
    wide=st.booleans(),
)
@examples(200)
def test_nothing_is_cut_off(cells: list[str], width: int, wide: bool) -> None:
    lines = shown([tuple(cells)], width, wide=wide)
    left_out = lines[-1].removeprefix("left out: ").partition(" (")[0].split(", ") if "left out" in lines[-1] else []
    told = sorted("".join(lines[2 : -1 if left_out else None]).replace(" ", "").replace("│", ""))
    assert wide or max(map(cell_len, lines[: -1 if left_out else None])) <= width
    kept = "".join(cell for title, cell in zip(TITLES, cells, strict=True) if title not in left_out)
    assert told == sorted(kept.replace(" ", "")), "every character that is not left out is there"


@pytest.mark.parametrize("words", [("rules",), *(("catalogue", "show", subject) for subject in SUBJECTS)])
def test_the_commands_fit_a_terminal(words: tuple[str, ...]) -> None:
    narrow, wide = (run(*words, *more, env={"COLUMNS": "80"}).stdout.splitlines() for more in ((), ("--wide",)))
    assert max(map(cell_len, narrow)) <= 80 or "left out" in max(narrow, key=cell_len)
    assert not [
        line for line in narrow if "…" in line and line not in wide and "left out" not in line and words[0] != "rules"
    ]
    assert "left out" not in wide[-1]
    first = next(line for line in wide if "─" in line or "━" in line)
    assert all(
        title in wide[wide.index(first) - 1] for title in narrow[wide.index(first) - 1].replace("┃", " ").split()
    )


def test_what_publish_prints_fits_a_terminal(tmp_path: Path) -> None:
    rows = [row(number, CF_JDRQ="很多" * 40, 备注="x" * 300) for number in range(3)]
    done = run(
        "publish", str(write(tmp_path / "a.csv", rows)), "--department", "税务局", "--dry-run", env={"COLUMNS": "80"}
    )
    assert done.returncode == 1
    assert "DATE_FORM" in done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= 80


def test_every_table_is_printed_by_one_function() -> None:
    root, found = Path(__file__).parents[2], set()
    for room in ROOMS:
        for path in (root / room).rglob("*.py"):
            if re.search(r"^\s*from rich(?:\.table)? import .*\bTable\b", path.read_text("utf-8"), re.MULTILINE):
                found.add(str(path.relative_to(root)))
    assert found == OF_THEIR_OWN, "print_table holds to the width of the terminal; what does not, is tried here"


def _columns_of(renderable: Any) -> int:
    out = io.StringIO()
    Console(file=out, width=80).print(renderable)
    return max(map(cell_len, out.getvalue().splitlines()))


@pytest.mark.parametrize("provinces", range(1, 5))
def test_the_matrix_of_provinces_fits_a_terminal(provinces: int) -> None:
    from consumers.commands.printing.mutual import _matrix  # it asks for a database driver

    state = SimpleNamespace(
        state="未归集", penalties=123_456, listings=9, pending=0, display_label="市场监督管理与知识产权领域(含药品)"
    )
    cells: Any = [state] * 3
    assert _columns_of(_matrix([(name, cells) for name in PROVINCES[:provinces]])) <= 80


@pytest.mark.parametrize("provinces", range(1, 5))
def test_the_status_of_an_exchange_fits_a_terminal(provinces: int) -> None:
    from consumers.commands.exchange import _shown

    at = datetime(2026, 11, 23, tzinfo=UTC)
    heard: Any = [
        {"province": f"p{number}", "name_zh": name, "silent": False, "stalled": False, "checkpoint_at": at,
         "received_at": at, "refusals": 12, "refused_at": at, "refusal": "签名与内容不符" * 20}
        for number, name in enumerate(PROVINCES[:provinces])
    ]  # fmt: skip
    cells: Any = [
        CELL | {"origin": one["province"], "province": two["province"]}
        for one in heard
        for two in heard
        if one is not two
    ]
    assert _columns_of(_shown(heard, cells, ["逾期: " + "北京→天津" * 40])) <= 80
