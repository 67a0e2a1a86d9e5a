"""One decision that names several parties is several records, where names and codes pair up; else the row is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from producers.files.import_file import Import
from producers.files.rows.rejects import write_rejects
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from tests.unit.importing import bodies, listing, penalty, read, told, write

A, B, C = "91110000101623741K", generate(7), generate(8)
NAMES = "甲公司;乙公司;丙公司"


def said(found: Import) -> list[dict[str, Any]]:
    return [decode(parsed("xinliu.Statement"), body) for body in bodies(found)]


def several(**changes: str) -> dict[str, str]:
    return penalty(CF_XDR_MC=NAMES, CF_XDR_SHXYM=f"{A};{B};{C}", CF_FRDB="") | changes


@pytest.mark.parametrize("separator", [";", "；", "、", "\n", " ; ", ";\n"])
def test_each_party_has_a_record(separator: str, tmp_path: Path) -> None:
    row = several(CF_XDR_MC=NAMES.replace(";", separator), CF_XDR_SHXYM=separator.join((A, B.lower(), C)))
    found = read(write(tmp_path / "a.csv", [row]))
    assert told(found) == []
    alone = [
        penalty(CF_XDR_MC=name, CF_XDR_SHXYM=code, CF_FRDB="")
        for name, code in zip(NAMES.split(";"), (A, B, C), strict=True)
    ]
    assert bodies(found) == bodies(read(write(tmp_path / "b.csv", alone))), "the very records of three rows"
    assert {repair.code for repair in found.repairs} >= {"PARTIES_SPLIT"}
    assert [statement.line for statement in found.outgoing] == [2, 2, 2]


def test_rows_of_one_number_and_several_subjects_are_several_records(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(), penalty(CF_XDR_MC="乙公司", CF_XDR_SHXYM=B)]))
    assert len({record["record_id"] for record in said(found)}) == 2


def test_what_is_said_of_each_is_of_each(tmp_path: Path) -> None:
    row = several(
        CF_FRDB="张某;李某;王某", CF_NR_FK="0.1;0.2;0.3", CF_XDR_LB="法人及非法人组织;个体工商户;法人及非法人组织"
    )
    found = read(write(tmp_path / "a.csv", [row]))
    assert [record["penalty"]["legal_representative"] for record in said(found)] == ["张某", "李某", "王某"]
    assert [str(record["penalty"]["fine"]) for record in said(found)] == ["0.100000", "0.200000", "0.300000"]
    assert said(found)[1]["subject"]["kind"] == "个体工商户"
    assert not found.remarks


def test_one_amount_for_several_is_told(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [several()]))
    assert [(remark.line, remark.column, remark.code) for remark in found.remarks] == [(2, "CF_NR_FK", "AMOUNT_SHARED")]
    assert {str(record["penalty"]["fine"]) for record in said(found)} == {"0.200000"}


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"CF_XDR_SHXYM": A}, "CF_XDR_SHXYM"),
        ({"CF_XDR_SHXYM": f"{A};{B}"}, "CF_XDR_SHXYM"),
        ({"CF_XDR_SHXYM": ""}, "CF_XDR_SHXYM"),
        ({"CF_XDR_MC": "甲公司"}, "CF_XDR_SHXYM"),
        ({"CF_XDR_SHXYM": f"{A};{B};{A.lower()}"}, "CF_XDR_SHXYM"),
        ({"CF_FRDB": "张某"}, "CF_FRDB"),
        ({"CF_FRDB": "张某;李某"}, "CF_FRDB"),
        ({"CF_NR_FK": "0.1;0.2"}, "CF_NR_FK"),
        ({"原记录标识": "ab" * 16}, "原记录标识"),
        ({"原主体": A}, "原主体"),
    ],
)
def test_what_does_not_pair_up_is_refused(changes: dict[str, str], column: str, tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [several(**changes), penalty(CF_WSH="2号")]))
    assert told(found) == [(2, column, "PARTIES_UNPAIRED")]
    assert [statement.line for statement in found.outgoing] == [3]


def test_one_bad_party_refuses_its_row_and_no_other(tmp_path: Path) -> None:
    bad = B[:-1] + ("0" if B[-1] != "0" else "1")
    rows = [several(CF_XDR_SHXYM=f"{A};{bad};{C}"), penalty(CF_WSH="2号")]
    found = read(write(tmp_path / "a.csv", rows))
    assert told(found) == [(2, "CF_XDR_SHXYM", "USCC_CHECK_DIGIT")]
    assert [statement.line for statement in found.outgoing] == [3]
    assert write_rejects(tmp_path / "r.csv", found.table, found.errors) == 1


def test_what_they_share_is_told_once(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [several(CF_JDRQ="2025/9/1")]))
    assert sorted(repair.code for repair in found.repairs) == ["DATE_FORM_READ", "PARTIES_SPLIT"]
    bad = read(write(tmp_path / "b.csv", [several(CF_NR_FK="2000元")]))
    assert told(bad) == [(2, "CF_NR_FK", "MONEY_FORM")]


def test_a_row_that_repeats_some_of_its_parties(tmp_path: Path) -> None:
    same = {"CF_FRDB": ""}
    rows = [
        several(),
        penalty(CF_XDR_MC="甲公司", **same),
        several(),
        penalty(CF_XDR_MC="乙公司", CF_XDR_SHXYM=B, CF_NR_FK="9", **same),
    ]
    found = read(write(tmp_path / "a.csv", rows[:3]))
    assert (len(found.outgoing), found.duplicates, told(found)) == (3, 2, [])
    clash = read(write(tmp_path / "b.csv", rows))
    assert {(error.line, error.code) for error in clash.errors} == {(line, "CONFLICT_IN_FILE") for line in (2, 4, 5)}
    assert [statement.line for statement in clash.outgoing] == [3], "what it says is contradicted by none"


def test_lists_name_several_too(tmp_path: Path) -> None:
    row = listing(纳税人名称="甲公司、乙公司", 统一社会信用代码=f"{A}、{B}")
    assert [record["subject"]["uscc"] for record in said(read(write(tmp_path / "a.csv", [row])))] == [A, B]


def test_a_small_file_cannot_ask_for_more_than_a_desk_has(tmp_path: Path) -> None:
    many = 1_500
    row = several(
        CF_XDR_MC=";".join(f"公{number}" for number in range(many)),
        CF_XDR_SHXYM=";".join(generate(number) for number in range(many)),
        CF_SY="甲" * 20_000,
    )
    with pytest.raises(UsageError, match="several files"):
        read(write(tmp_path / "a.csv", [row | {"CF_WSH": f"{number}号"} for number in range(20)]))
