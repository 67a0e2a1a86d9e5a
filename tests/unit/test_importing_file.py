"""Importing whole files: every error of every row, the same bytes every time, and what a correction keeps."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from producers.files.headers.headers import resolve
from producers.files.import_file import import_file
from producers.files.rows.rejects import REASON_HEADER, write_rejects
from producers.files.values.values import REPAIRS
from producers.statements.encoding import encoded, nested
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode, encode
from schemas.contracts.flat_frame import FLAT
from schemas.errors import Rejected, UsageError
from schemas.identifiers.uscc import generate
from schemas.records.identity import record_id
from tests.unit.importing import AUTHORITY, NAMES, PENALTY, bodies, codes, listing, penalty, read, told, write

WIDE_NAMES = NAMES | {"CF_XDR_SHXYM": "行政相对人代码_1（统一社会信用代码）"}
OTHER = "911101066976941872"


def statement(body: bytes) -> dict[str, object]:
    return decode(parsed("xinliu.Statement"), body)


def test_a_good_row_becomes_a_statement(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [penalty()]))
    assert not found.errors
    (body,) = bodies(found)
    said = statement(body)
    assert said["record_id"] == record_id(
        kind="PENALTY",
        province="beijing",
        domain="tax",
        authority=AUTHORITY,
        number="京税罚〔2025〕1号",
        uscc="91110000101623741K",
    )
    assert said["version"] == round(datetime(2025, 9, 2, 2, tzinfo=UTC).timestamp() * 1000)
    assert (said["status"], said["reason"], said["domain"]) == ("IN_FORCE", "PUBLISHED", "tax")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030"])
def test_the_same_statements_whatever_encoding_and_headers(tmp_path: Path, encoding: str) -> None:
    expected = bodies(read(write(tmp_path / "a.csv", [penalty()])))
    chinese = {WIDE_NAMES.get(header, header): value for header, value in PENALTY.items()}
    assert bodies(read(write(tmp_path / "b.csv", [chinese], encoding=encoding, delimiter="\t"))) == expected


def test_encoding_typed_rows_gives_the_bytes_of_the_codec(tmp_path: Path) -> None:
    rows = [
        penalty(),
        penalty(CF_WSH="2号", 状态="已撤销"),
        penalty(CF_WSH="3号", CF_NR_FK="", CF_NR_WFFF="12,345.678901"),
    ]
    found = read(write(tmp_path / "a.csv", rows))
    assert [encode("xinliu.Statement", statement(body)) for body in bodies(found)] == bodies(found)


def test_a_row_without_a_mandatory_field_is_refused_without_its_content() -> None:
    row = dict.fromkeys(FLAT.names()) | {
        "has_penalty": True,
        "has_listing": False,
        "has_registration": False,
        "penalty_legal_representative": "张某",
    }
    assert nested(row)["penalty"]
    with pytest.raises(Rejected) as refused:
        encoded(row)
    assert "张某" not in str(refused.value)


def test_all_errors_of_all_rows_are_told(tmp_path: Path) -> None:
    rows = [
        penalty(),
        penalty(CF_WSH="2号", CF_NR_FK="2000元", CF_JDRQ="9/1/2025", CF_SY=""),
        penalty(CF_WSH="3号", CF_JDRQ=""),
        penalty(CF_WSH="4号", CF_XDR_SHXYM="911100001016237410", CF_CFLB="批评教育"),
        penalty(CF_WSH="5号", CF_CFJGDM="11110000M00010014A"),
        penalty(CF_WSH="6号", CF_SY="含\0字符"),
        penalty(CF_WSH="7号", 状态="作废"),
        penalty(CF_WSH="8号", 领域="占卜"),
        penalty(CF_WSH="9号", 更新时间=""),
        penalty(CF_WSH="", 更新时间="昨天"),
        penalty(CF_WSH="11号", CF_XDR_SHXYM="110101199003074514"),
    ]
    found = read(write(tmp_path / "a.csv", rows))
    assert [statement.line for statement in found.outgoing] == [2]
    assert set(told(found)) >= {
        (3, "CF_NR_FK", "MONEY_FORM"),
        (3, "CF_JDRQ", "DATE_AMBIGUOUS"),
        (3, "CF_SY", "REQUIRED"),
        (4, "CF_JDRQ", "REQUIRED"),
        (5, "CF_XDR_SHXYM", "USCC_CHECK_DIGIT"),
        (5, "CF_CFLB", "CATEGORY"),
        (6, "CF_CFJGDM", "WRONG_AUTHORITY"),
        (7, "CF_SY", "CONTROL_CHARACTER"),
        (8, "状态", "STATUS"),
        (9, "领域", "DOMAIN"),
        (10, "更新时间", "VERSION_MISSING"),
        (11, "更新时间", "TIME_FORM"),
        (11, "CF_WSH", "REQUIRED"),
        (12, "CF_XDR_SHXYM", "USCC_RESIDENT_ID"),
    }
    assert found.refused_lines == frozenset(range(3, 13))
    assert "199003074" not in str(found.errors)
    assert all(re.search("[\u4e00-\u9fff]", error.reason) for error in found.errors)


def test_broken_lines_are_errors_of_their_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [penalty(), penalty(CF_WSH="2号")])
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n") + ",surplus\n", encoding="utf-8")
    found = read(path)
    assert (found.rows, told(found)) == (2, [(3, "", "ROW_TOO_LONG")])


def test_the_file_says_its_versions_or_the_person_does(tmp_path: Path) -> None:
    row = {header: value for header, value in penalty().items() if header != "更新时间"}
    path = write(tmp_path / "a.csv", [row])
    with pytest.raises(UsageError, match="--stated-at"):
        read(path)
    at = datetime(2025, 9, 3, tzinfo=UTC)
    assert read(path, stated_at=at).outgoing[0].version == round(at.timestamp() * 1000)
    assert bodies(read(path, stated_at=at)) == bodies(read(path, stated_at=at))
    versioned = read(write(tmp_path / "b.csv", [row | {"版本号": "7"}]))
    assert versioned.outgoing[0].version == 7


def test_versions_ahead_of_the_clock_are_refused(tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=11)
    found = read(write(tmp_path / "a.csv", [penalty(更新时间=ahead.isoformat(timespec="seconds"))]))
    assert codes(told(found)) == {"VERSION_AHEAD"}
    with pytest.raises(UsageError, match="ahead of the clock"):
        read(write(tmp_path / "b.csv", [penalty()]), stated_at=ahead)


def test_rows_that_contradict_each_other_are_both_refused(tmp_path: Path) -> None:
    rows = [penalty(), penalty(CF_NR_FK="0.3"), penalty(CF_WSH="2号"), penalty(CF_WSH="2号"), penalty(CF_WSH=" 2号 ")]
    found = read(write(tmp_path / "a.csv", rows))
    assert told(found) == [(2, "CF_WSH", "CONFLICT_IN_FILE"), (3, "CF_WSH", "CONFLICT_IN_FILE")]
    assert "第 3 行" in found.errors[0].reason
    assert ([s.line for s in found.outgoing], found.duplicates) == ([4], 2)


def test_a_correction_keeps_the_identity(tmp_path: Path) -> None:
    (original,) = read(write(tmp_path / "a.csv", [penalty()])).outgoing
    moved = penalty(CF_XDR_SHXYM=OTHER, 更新时间="2025-10-01 00:00")
    corrections = [
        moved | {"原主体": "91110000101623741K"},
        moved | {"原记录标识": original.record_id},
        moved | {"CF_WSH": "京税罚〔2025〕99号", "原主体": "91110000101623741K", "原文号": "京税罚[2025]1号"},
    ]
    for number, row in enumerate(corrections):
        (corrected,) = read(write(tmp_path / f"{number}.csv", [row])).outgoing
        assert (corrected.record_id, corrected.uscc) == (original.record_id, OTHER)
        assert statement(corrected.body)["reason"] == "CORRECTED"
    (unnamed,) = read(write(tmp_path / "d.csv", [moved])).outgoing
    assert unnamed.record_id != original.record_id


@pytest.mark.parametrize(("said", "status"), [("已修复", "REPAIRED"), ("已撤销", "REVOKED"), ("REVOKED", "REVOKED")])
def test_repairs_and_revocations_carry_no_content(tmp_path: Path, said: str, status: str) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(状态=said)]))
    record = statement(found.outgoing[0].body)
    assert (record["status"], record["reason"], record["penalty"]) == (status, status, None)


def test_list_entries(tmp_path: Path) -> None:
    removed = listing(条目编号="2", 移出日期="2026-01-05", 移出事由="提前移出")
    found = read(write(tmp_path / "a.csv", [listing(), removed, listing(条目编号="3", 列入日期="")]))
    assert told(found) == [(4, "列入日期", "REQUIRED")]
    first, second = (statement(body) for body in bodies(found))
    assert first["listing"]["list"] == "TAX"  # type: ignore[index]
    assert (first["penalty"], second["reason"]) == (None, "REMOVED")


def test_the_mark_of_an_objection(tmp_path: Path) -> None:
    rows = [
        penalty(CF_WSH="1", 异议标注日期="2026年1月5日"),
        penalty(CF_WSH="2", 异议标注日期="", 变更原因="异议核查后维持"),
        penalty(CF_WSH="3", 异议标注日期="2026-01-05", 变更原因="异议标注"),
        penalty(CF_WSH="4", 异议标注日期="2026-01-05", 状态="已修复"),
        penalty(CF_WSH="5", 异议标注日期="", 变更原因="异议标注"),
        penalty(CF_WSH="6", 异议标注日期="2026-01-05", 变更原因="异议核查后维持"),
    ]
    found = read(write(tmp_path / "a.csv", rows))
    assert told(found) == [(6, "异议标注日期", "DISPUTED_DAY"), (7, "异议标注日期", "UPHELD_MARKED")]
    said = [statement(body) for body in bodies(found)]
    day = date(2026, 1, 5)
    assert [(one["reason"], one["disputed_since"]) for one in said] == [
        ("DISPUTED", day),
        ("UPHELD", None),
        ("DISPUTED", day),
        ("REPAIRED", None),
    ]


def test_a_department_without_lists_cannot_publish_an_entry(tmp_path: Path) -> None:
    row = {header: value for header, value in listing().items() if header != "名单"}
    department = load().department("beijing", "housing-fund")
    found = import_file(write(tmp_path / "a.csv", [row]), department, load())
    assert not found.outgoing
    assert (2, "listing_list", "REQUIRED") in told(found)


def test_identity_documents_are_never_read(tmp_path: Path) -> None:
    number = "110101199003074514"
    row = penalty(CF_FR_ZJHM=number, CF_XDR_ZJHM=number, 身份证号=number, CF_SY="", 内部编号="7")
    path = write(tmp_path / "a.csv", [row, penalty()])
    found = read(path)
    assert found.columns.personal == ("CF_FR_ZJHM", "CF_XDR_ZJHM", "身份证号")
    assert found.columns.unknown == ("内部编号",)
    write_rejects(tmp_path / "r.csv", found.table, found.errors, personal=found.columns.personal)
    assert number not in (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    assert not any(number.encode() in body for body in bodies(found))


def test_missing_columns_are_named_together(tmp_path: Path) -> None:
    row = {header: value for header, value in penalty().items() if header not in ("CF_SY", "CF_JDRQ")}
    with pytest.raises(UsageError, match="CF_SY、CF_JDRQ"):
        read(write(tmp_path / "a.csv", [row]))
    with pytest.raises(UsageError, match="含义相同"):
        read(write(tmp_path / "b.csv", [penalty(违法事实="x")]))


def test_every_field_of_the_form_has_both_its_names() -> None:
    by_code, by_name = resolve(tuple(WIDE_NAMES)), resolve(tuple(WIDE_NAMES.values()))
    assert set(by_code.headers) == set(by_name.headers)
    assert not by_code.unknown + by_name.unknown


def _as_csv(path: Path) -> Path:
    return path.with_suffix(".csv")


def _as_xlsx(path: Path) -> Path:
    return path.with_suffix(".xlsx")


@pytest.mark.parametrize("form", [_as_csv, _as_xlsx])
def test_rejects_come_back_in_their_columns_and_can_be_published(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    rows = [penalty(), penalty(CF_WSH="2号", CF_NR_FK="2000元", CF_SY=""), penalty(CF_WSH="=1+1", CF_SY="")]
    found = read(write(tmp_path / "a.csv", rows, encoding="gbk"))
    out = form(tmp_path / "rejects")
    assert write_rejects(out, found.table, found.errors) == 2
    again = read(out)
    assert again.table.headers == (*PENALTY, REASON_HEADER)
    assert set(told(again)) == {(line - 1, column, code) for line, column, code in told(found)}
    reasons = [str(cells[-1]) for _, cells in again.table.rows]
    assert all(text in reasons[0] for text in ("CF_NR_FK", "MONEY_FORM", "CF_SY", "REQUIRED"))
    assert again.table.rows[1][1][4] == "=1+1"


def test_rejects_as_csv_open_in_excel(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(CF_SY="")]))
    write_rejects(tmp_path / "r.csv", found.table, found.errors)
    raw = (tmp_path / "r.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert next(csv.reader(raw.decode("utf-8-sig").splitlines()))[-1] == REASON_HEADER


def test_rejects_that_cannot_be_written_are_one_clear_line(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", [penalty(CF_SY="")]))
    for name in ("r.csv", "r.xlsx"):
        with pytest.raises(UsageError, match="cannot write"):
            write_rejects(tmp_path / "nowhere" / name, found.table, found.errors)


def test_the_kind_of_subject_follows_from_the_code_where_the_file_is_silent(tmp_path: Path) -> None:
    codes_of = {generate(7): "法人及非法人组织", generate(8, prefix="92"): "个体工商户"}
    found = read(write(tmp_path / "a.csv", [listing(条目编号=code, 统一社会信用代码=code) for code in codes_of]))
    said = [statement(body)["subject"] for body in bodies(found)]
    assert {subject["uscc"]: subject["kind"] for subject in said} == codes_of  # type: ignore[index]


def test_the_guide_names_every_code_and_mandatory_column() -> None:
    guide = Path("docs/publishing.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in Path("producers/files").rglob("*.py"))
    raised = re.findall(r'(?:CellRefused\(|Fault\(\w+, |None, |"",\s+)"([A-Z_]{6,})"', source)
    assert {"DATE_FORM", "NOT_JSON", "VERSION_MISSING", "CONFLICT_IN_FILE"} <= set(raised)
    assert all(code in guide for code in (*raised, *REPAIRS) if code != "REQUIRED")
    with pytest.raises(UsageError) as missing:
        resolve(("CF_BLANK", "BZ", "CF_FRDB"))
    assert all(name in guide for name in re.findall(r"CF_[A-Z_]+", str(missing.value).split("文件中有")[0]))
