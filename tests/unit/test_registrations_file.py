"""Registrations as a registry sends them, and as a program publishes them: the same statements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from producers import FormerName, Registration, StatementRejected
from producers.files.headers.headers import KIND_NAMES, resolve
from producers.files.import_file import Import, import_file
from producers.statements.registration import registration_statement
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.records.identity import registration_id
from tests.statements import department
from tests.unit.importing import told, write

REGISTRAR = department("market-regulation")
AUTHORITY, AUTHORITY_NAME = REGISTRAR.authorities[0]
USCC = generate(1)
ROW: Mapping[str, str] = {
    "经营主体名称": "北京甲商贸有限公司",
    "统一社会信用代码": USCC,
    "经营主体类型": "企业",
    "登记机关": AUTHORITY_NAME,
    "登记机关代码": AUTHORITY,
    "成立日期": "2015-03-02",
    "更新时间": "2026-06-01 08:00:00",
}


def row(**changes: str) -> dict[str, str]:
    """Return a good row, with changes."""
    return {**ROW, **changes}


def read(path: Path, key: str = "market-regulation") -> Import:
    """Import a file of a department of Beijing."""
    return import_file(path, department(key), load())


def said(found: Import, place: int = 0) -> dict[str, Any]:
    """Return a statement that would be sent."""
    return dict(decode(parsed("xinliu.Statement"), found.outgoing[place].body))


def test_a_row_becomes_the_statement_that_a_program_publishes(tmp_path: Path) -> None:
    changes = {"曾用名称": "北京乙商贸有限公司|2020-05-31", "现名称启用日期": "2020年6月1日", "注销日期": "20260501"}
    found = read(write(tmp_path / "a.csv", [row(**changes)]))
    assert not found.errors, found.errors
    assert not found.remarks
    by_program = registration_statement(
        Registration(
            uscc=USCC,
            name="北京甲商贸有限公司",
            entity_kind="企业",
            since=date(2015, 3, 2),
            authority=AUTHORITY,
            authority_name=AUTHORITY_NAME,
            until=date(2026, 5, 1),
            name_since=date(2020, 6, 1),
            former_names=[FormerName("北京乙商贸有限公司", date(2020, 5, 31))],
        ),
        province="beijing",
        department="market-regulation",
        stated_at=datetime(2026, 6, 1, tzinfo=UTC),
    )
    assert found.outgoing[0].body == encode("xinliu.Statement", by_program)
    assert said(found)["record_id"] == registration_id("beijing", USCC)
    assert (said(found)["kind"], said(found)["domain"]) == ("REGISTRATION", "registration")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("甲公司|2020-05-31;乙公司|2024-01-09", "甲公司|2020-05-31;乙公司|2024-01-09"),
        ("甲公司｜2020年5月31日；乙公司｜2024/1/9", "甲公司|2020-05-31;乙公司|2024-01-09"),
        (" 甲公司 | 20200531 ; ", "甲公司|2020-05-31"),
        ("甲公司|2020-05-31;", "甲公司|2020-05-31"),
        ("甲公司", None),
        ("甲公司|" + "年" * 20_000, None),
        (
            ";".join(f"第{n}公司|{2000 + n}-01-01" for n in range(20)),
            ";".join(f"第{n}公司|{2000 + n}-01-01" for n in range(20)),
        ),
        ("乙公司|2024-01-09;甲公司|2020-05-31", None),
        ("甲|公司|2020-05-31", None),
        ("|2020-05-31", None),
    ],
)
def test_former_names_as_people_write_them(tmp_path: Path, written: str, meant: str | None) -> None:
    found = read(write(tmp_path / "a.csv", [row(曾用名称=written)]))
    if meant is None:
        assert told(found) == [(2, "曾用名称", "FORMER_NAMES")]
    else:
        assert said(found)["registration"]["former_names"] == meant


@pytest.mark.parametrize(
    ("dates", "since", "until"),
    [
        ({"成立日期": "2015-03-02"}, date(2015, 3, 2), None),
        ({"成立日期": "2015-03-02", "迁入日期": "2024-05-01"}, date(2024, 5, 1), None),
        ({"成立日期": "", "迁入日期": "2024-05-01"}, date(2024, 5, 1), None),
        ({"成立日期": "2015-03-02", "迁出日期": "2024-05-01"}, date(2015, 3, 2), date(2024, 5, 1)),
        ({"注销日期": "2024-05-01"}, date(2015, 3, 2), date(2024, 5, 1)),
        ({"迁出日期": "2024-05-01", "注销日期": "2024-05-01"}, date(2015, 3, 2), date(2024, 5, 1)),
    ],
)
def test_founded_or_moved_in_and_gone(tmp_path: Path, dates: dict[str, str], since: date, until: date | None) -> None:
    body = said(read(write(tmp_path / "a.csv", [row(**dates)])))["registration"]
    assert (body["since"], body["until"]) == (since, until)


def test_the_column_of_moves_alone_is_enough(tmp_path: Path) -> None:
    moved = {("迁入日期" if header == "成立日期" else header): cell for header, cell in ROW.items()}
    assert said(read(write(tmp_path / "a.csv", [moved])))["registration"]["since"] == date(2015, 3, 2)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"迁出日期": "2024-05-01", "注销日期": "2024-06-01"}, ("迁出日期", "TWO_DATES")),
        ({"成立日期": ""}, ("成立日期", "REQUIRED")),
        ({"成立日期": "2015"}, ("成立日期", "DATE_FORM")),
        ({"注销日期": "2014-01-01"}, ("注销日期", "UNTIL_BEFORE_SINCE")),
        ({"经营主体类型": "公司"}, ("经营主体类型", "ENTITY_KIND")),
        ({"经营主体名称": "甲公司;乙公司"}, ("经营主体名称", "REGISTERED_NAME")),
        ({"统一社会信用代码": "362322198709086409"}, ("统一社会信用代码", "USCC_RESIDENT_ID")),
        ({"主体类别": "自然人"}, ("主体类别", "NATURAL_PERSON")),
        ({"状态": "已修复"}, ("状态", "REGISTRATION_STATUS")),
        ({"领域": "市场监管"}, ("领域", "REGISTRATION_DOMAIN")),
        ({"原主体": generate(2)}, ("record_id", "REGISTRATION_ID")),
    ],
)
def test_what_is_wrong_is_told_with_its_column(tmp_path: Path, changes: dict[str, str], error: tuple[str, str]) -> None:
    found = read(write(tmp_path / "a.csv", [row(**changes)]))
    assert (2, *error) in told(found)
    assert not found.outgoing
    assert "19870908" not in str(found.errors)


def test_a_row_without_a_code_names_nobody(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [row(统一社会信用代码="")]))
    assert (2, "统一社会信用代码", "NO_IDENTITY") in told(found)


def test_two_rows_of_one_entity_contradict_each_other(tmp_path: Path) -> None:
    rows = [row(), row(经营主体名称="北京丙商贸有限公司"), row(统一社会信用代码=generate(2))]
    found = read(write(tmp_path / "a.csv", rows))
    assert [(error.line, error.column, error.code) for error in found.errors] == [
        (2, "统一社会信用代码", "CONFLICT_IN_FILE"),
        (3, "统一社会信用代码", "CONFLICT_IN_FILE"),
    ]
    assert [statement.uscc for statement in found.outgoing] == [generate(2)]


def test_a_department_that_does_not_register_is_told_so(tmp_path: Path) -> None:
    authority, name = department("tax").authorities[0]
    file = write(tmp_path / "a.csv", [row(登记机关=name, 登记机关代码=authority)])
    assert {code for _, _, code in told(read(file, "tax"))} == {"WRONG_REGISTRAR"}


def test_what_contradicts_the_code_is_a_remark(tmp_path: Path) -> None:
    moved = row(统一社会信用代码=generate(3, division="130100"), 迁入日期="2024-05-01")
    single = row(统一社会信用代码=generate(4, prefix="92"))
    found = read(write(tmp_path / "a.csv", [moved, single]))
    assert len(found.outgoing) == 2
    assert [(remark.line, remark.column, remark.code) for remark in found.remarks] == [
        (2, "统一社会信用代码", "DIVISION_DIFFERS"),
        (3, "经营主体类型", "ENTITY_KIND_DIFFERS"),
    ]


def test_headers_say_what_a_file_holds() -> None:
    assert resolve(list(ROW)).kind == "REGISTRATION"
    assert set(KIND_NAMES) == set(load().codes("kind"))
    assert dict(load().codes("kind")) == KIND_NAMES
    with pytest.raises(UsageError, match=r"经营主体登记.*成立日期"):
        resolve([header for header in ROW if header != "成立日期"])


@pytest.mark.parametrize("name", ["甲;乙", "甲|乙", ""])
def test_a_program_is_told_of_names_that_cannot_be_written(name: str) -> None:
    one = Registration(USCC, "甲", "企业", date(2015, 3, 2), AUTHORITY, AUTHORITY_NAME)
    with_former = Registration(
        USCC,
        "甲",
        "企业",
        date(2015, 3, 2),
        AUTHORITY,
        AUTHORITY_NAME,
        former_names=[FormerName(name, date(2020, 1, 1))],
    )
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    registration_statement(one, province="beijing", department="market-regulation", stated_at=moment)
    with pytest.raises(StatementRejected):
        registration_statement(with_former, province="beijing", department="market-regulation", stated_at=moment)
