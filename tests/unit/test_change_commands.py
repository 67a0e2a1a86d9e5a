"""`xinliu change` without servers: how a record is named, what is made of it, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from xlsxwriter import Workbook

from producers.changes import versions as changes
from producers.commands.change import change
from producers.statements.encoding import from_json, to_json
from schemas.contracts.codec import encode
from schemas.errors import Rejected, UsageError
from schemas.identifiers.uscc import generate
from tests.statements import department, listing, penalty
from tests.unit.importing import penalty as row
from tests.unit.importing import write

NAME = "xinliu.Statement"
AUTHORITY = department().authorities[0][0]
P, L = penalty("令1号"), listing("令2号")
WHO = ["--department", "tax", "--dry-run"]


def xinliu(*words: str, expect: int = 0) -> Any:
    """Run the command and return what it says as JSON."""
    done = CliRunner().invoke(change, [*words, *WHO, "--json"], catch_exceptions=False)
    assert done.exit_code == expect, done.output
    return json.loads(done.output)


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    """A penalty as JSON."""
    path = tmp_path / "penalty.json"
    path.write_text(to_json(P), encoding="utf-8")
    return path


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A list entry as JSON."""
    path = tmp_path / "entry.json"
    path.write_text(to_json(L), encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A department's own CSV of three penalties, one about two entities."""
    parties = (("京税罚〔2026〕1号", 1), ("京税罚〔2026〕2号", 2), ("京税罚〔2026〕2号", 3))
    rows = [row(CF_WSH=number, CF_XDR_SHXYM=generate(entity)) for number, entity in parties]
    for one in rows:
        del one["更新时间"]
    return write(tmp_path / "own.csv", rows)


@pytest.mark.parametrize("form", ["own.csv", "own.xlsx"])
def test_a_file_is_read_as_it_was_published(tmp_path: Path, form: str) -> None:
    said = row(CF_WSH="京税罚〔2026〕9号", 当前状态="正常")
    path = tmp_path / form
    if form.endswith("xlsx"):
        with Workbook(str(path)) as book:
            sheet_of = book.add_worksheet("Sheet1")
            for place, (header, cell) in enumerate(said.items()):
                sheet_of.write_string(0, place, header)
                sheet_of.write_string(1, place, cell)
    else:
        write(path, [said])
    sheet = ("--sheet", "Sheet1") if form.endswith("xlsx") else ()
    with pytest.raises(UsageError, match="当前状态"):
        xinliu("repair", "--from", str(path))
    for options in (("--map", "当前状态=状态"), ("--ignore", "当前状态")):
        told = xinliu("repair", "--from", str(path), *options, *sheet)
        assert told["statement"]["status"] == "REPAIRED"
    with pytest.raises(UsageError):
        xinliu("repair", "--from", str(path), "--ignore", "当前状态", "--sheet", "没有")


@pytest.mark.parametrize("department", ["tax", "税务局", "国家税务总局 北京市税务局", "ＴＡＸ"])
def test_names_and_codes_as_a_person_types_them(statement: Path, department: str) -> None:
    wide = "".join(chr(ord(one) + 0xFEE0) for one in P["subject"]["uscc"])
    words = ["repair", "--from", str(statement), "--uscc", wide, "--department", department, "--dry-run", "--json"]
    done = CliRunner().invoke(change, words, catch_exceptions=False)
    assert json.loads(done.output)["record_id"] == P["record_id"]


def test_json_of_a_statement_reads_back() -> None:
    for one in (P, L, changes.disputed(P), changes.revoked(P)):
        assert encode(NAME, from_json(to_json(one))) == encode(NAME, one)
    with pytest.raises(Rejected, match="lacks version"):
        from_json(json.dumps({key: value for key, value in json.loads(to_json(P)).items() if key != "version"}))
    with pytest.raises(Rejected, match="no field sum"):
        from_json(json.dumps({**json.loads(to_json(P)), "sum": 1}))
    with pytest.raises(Rejected, match=r"statement\.penalty\.decided_on must be a date"):
        from_json(to_json({**P, "penalty": {**P["penalty"], "decided_on": "gestern"}}))


def test_a_record_is_named_by_its_number(statement: Path) -> None:
    words = ["--number", "令1号", "--uscc", P["subject"]["uscc"], "--name", "某", "--authority", AUTHORITY]
    told = xinliu("revoke", *words)
    assert (told["record_id"], told["statement"]["status"]) == (P["record_id"], "REVOKED")
    assert xinliu("repair", "--from", str(statement))["record_id"] == P["record_id"]
    by_id = xinliu("repair", "--record-id", "0" * 32, "--kind", "penalty", *words[2:])
    assert by_id["record_id"] == "0" * 32


def test_a_list_entry_leaves_comes_back_and_bears_a_mark(entry: Path, tmp_path: Path) -> None:
    removed = xinliu("remove", "--from", str(entry), "--on", "2026-9-1", "--why", "提前移出")
    assert removed["statement"]["listing"]["removed_on"] == "2026-09-01"
    gone = tmp_path / "gone.json"
    gone.write_text(json.dumps(removed["statement"]), encoding="utf-8")
    assert xinliu("relist", "--from", str(gone))["statement"]["listing"]["removed_on"] is None
    marked = xinliu("dispute", "--from", str(gone), "--since", "2026-09-02")
    gone.write_text(json.dumps(marked["statement"]), encoding="utf-8")
    assert xinliu("uphold", "--from", str(gone))["statement"]["disputed_since"] is None


def test_the_row_of_the_departments_own_file(table: Path) -> None:
    one = xinliu("repair", "--from", str(table), "--number", "京税罚(2026)1号")
    assert one["statement"]["subject"]["uscc"] == generate(1)
    two = xinliu("revoke", "--from", str(table), "--number", "京税罚〔2026〕2号", "--uscc", generate(3))
    assert two["statement"]["subject"]["uscc"] == generate(3)
    with pytest.raises(UsageError, match="2 rows of "):
        xinliu("revoke", "--from", str(table), "--number", "京税罚〔2026〕2号")
    with pytest.raises(UsageError, match="no row of"):
        xinliu("revoke", "--from", str(table), "--number", "京税罚〔2026〕9号")


def test_a_correction_keeps_the_id_of_the_first_publication(table: Path) -> None:
    number, first = "京税罚〔2026〕1号", generate(9)
    told = xinliu("correct", "--from", str(table), "--number", number, "--was-uscc", first, "--was-number", "错号")
    named = changes.named(
        department(), kind="PENALTY", uscc=first, name="", number="错号", domain="tax", authority=AUTHORITY
    )
    assert told["record_id"] == named["record_id"]
    assert (told["statement"]["reason"], told["statement"]["penalty"]["document_number"]) == ("CORRECTED", number)


def test_what_cannot_be_is_said(statement: Path, entry: Path, tmp_path: Path) -> None:
    for why, words in (
        ("only list entries", ["remove", "--from", str(statement), "--on", "2026-09-01", "--why", "期满"]),
        ("no date", ["remove", "--from", str(entry), "--on", "gestern", "--why", "期满"]),
        ("never removed", ["relist", "--from", str(entry)]),
        ("no mark", ["uphold", "--from", str(statement)]),
        ("not above", ["repair", "--from", str(statement), "--version", "1"]),
        ("named by --number or --entry, --uscc, --name, --kind", ["revoke"]),
        ("give one of them", ["revoke", "--number", "1", "--entry", "2"]),
        ("cannot read", ["revoke", "--from", str(tmp_path / "none.json")]),
    ):
        done = CliRunner().invoke(change, [*words, *WHO])
        assert why in str(done.exception), (words, done.output)


def test_what_a_rule_refuses_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(to_json({**P, "domain": "court"}), encoding="utf-8")
    told = xinliu("repair", "--from", str(path), expect=1)
    assert [error["code"] for error in told["errors"]] == ["AUTHORITY_DOMAIN", "WRONG_DOMAIN"]
