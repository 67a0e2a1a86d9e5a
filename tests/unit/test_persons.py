"""A resident identity number where a code belongs: known however it is written, and shown whole by nothing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from stdnum.cn import uscc as stdnum_uscc
from structlog.testing import capture_logs

from producers.commands.publish_summary import print_summary
from producers.files.rows.rejects import write_rejects
from producers.publisher import Publisher, PublisherConfig, StatementRejected
from producers.statements.encoding import nested
from schemas.contracts.codec import encode
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.identifiers.persons import cover_persons, names_person
from schemas.identifiers.resident import is_resident_id
from schemas.identifiers.uscc import generate
from schemas.identifiers.uscc_check import check
from schemas.rules.examples import DEPARTMENT, good
from streams.forwarding.masking import masked
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.unit.importing import penalty, read, told, write

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ORGANISATION = (3, 7, 9, 10, 5, 8, 4, 2)


def numbers(place: str) -> Iterator[str]:
    """Yield numbers of nobody: born in 2099."""
    for count in range(365 * 1000):
        born = date(2099, 1, 1) + timedelta(days=count // 1000)
        body = f"{place}{born:%Y%m%d}{count % 1000:03}"
        yield body + "10X98765432"[sum(int(d) * w for d, w in zip(body, _WEIGHTS, strict=True)) % 11]


def organisation_passes(code: str) -> bool:
    total = sum(int(d) * w for d, w in zip(code[8:16], _ORGANISATION, strict=True))
    return code[16] == "0123456789X0"[(11 - total % 11) % 11]


@cache
def passing() -> tuple[str, ...]:
    """Return numbers that pass every check of a code: 51 is a registrar and Sichuan, 11 a division and one of its cities."""
    return tuple(islice((n for n in numbers("511123") if organisation_passes(n) and stdnum_uscc.is_valid(n)), 5))


def written() -> list[str]:
    """Return a number in every way that people write it."""
    number = passing()[0]
    mistyped = number[:17] + str((int(number[17]) + 1) % 10 if number[17] != "X" else 5)
    with_x = next(n for n in numbers("110101") if n.endswith("X"))
    return [
        *passing(),
        mistyped,
        next(numbers("110101")),
        with_x,
        with_x.lower(),
        number.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}),
        f"{number[:6]} {number[6:14]} {number[14:]}",
        f"{number[:6]}-{number[6:14]}-{number[14:]}",
        f"{number[:9]}\u200b{number[9:]}",
        f"身份证:{number}",
        f" {number}",
        number[:6] + number[8:17],  # of 15 digits, as before 1999
    ]


def holds(text: str, number: str) -> bool:
    """Tell whether birth date and serial number can be read out of a text, whatever stands between the digits."""
    digits = re.sub("[^0-9]", "", unicodedata.normalize("NFKC", number))
    secret = digits[6:15] if len(digits) == 15 else digits[6:17]
    return secret in re.sub("[^0-9*]", "", unicodedata.normalize("NFKC", text))


def said(number: str, **changes: Any) -> dict[str, Any]:
    return nested(good("PENALTY") | {"uscc": number} | changes)


def test_there_are_such_numbers() -> None:
    assert len(passing()) == 5
    for number in passing():
        assert stdnum_uscc.is_valid(number)
        assert check(number) == ("USCC_RESIDENT_ID",)


@pytest.mark.parametrize("number", written())
def test_it_is_known_however_it_is_written(number: str) -> None:
    assert names_person(number)
    assert check(number) == ("USCC_RESIDENT_ID",)


def test_codes_are_no_persons() -> None:
    codes = [
        generate(place, prefix=prefix) for place in range(0, 99_999_999, 999_983) for prefix in ("91", "92", "51", "12")
    ]
    assert [code for code in codes if names_person(code) and not is_resident_id(code)] == []
    assert sum(names_person(code) for code in codes) <= 1
    assert not any(
        names_person(text) for text in ("", "91110000101623741K", "京税罚〔2025〕1号", "2" * 15, "9" * 18, "1" * 200)
    )


@pytest.mark.parametrize("number", written())
def test_intake_keeps_nothing_of_it(number: str) -> None:
    registry, recorder = MemoryRegistry(), Recorder()
    schema_id = registry.register("xinliu.Statement").to_bytes(4, "big")
    stage = stage_of(registry, recorder)
    remark = f"联系人 {number}, 电话" if len(number) == 18 else None
    statements = [
        said(number),
        said(generate(3), record_id=number, domain=number),
        said(generate(4), penalty_remark=remark),
    ]
    with capture_logs() as logs:
        stage(
            [
                records_of(
                    f"records.{DEPARTMENT}", [b"\0" + schema_id + encode("xinliu.Statement", s) for s in statements]
                )
            ]
        )
    kept = [
        (value.decode("utf-8", "replace"), json.dumps([h.decode() for _, h in headers]))
        for value, headers in recorder.quarantined
    ]
    assert len(kept) == (3 if remark and names_person(remark.split()[1].rstrip(",")) else 2)
    whole = [text for value, headers in kept[:1] + kept[2:] for text in (value, headers)] + [
        json.dumps(logs, default=str)
    ]
    assert not [text for text in whole if holds(text, number)]
    assert not holds(kept[1][1], number), "nor where it stands in another field"
    assert len(recorder.quarantined[0][0]) == len(encode("xinliu.Statement", statements[0])) + 5, "it still decodes"


@pytest.mark.parametrize("number", written())
@pytest.mark.parametrize("form", ["r.csv", "r.xlsx"])
def test_the_import_shows_it_nowhere(
    number: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        penalty(CF_XDR_SHXYM=number),
        penalty(CF_WSH="2号", CF_SJLYDM=number),
        penalty(CF_WSH="3号", CF_XDR_SHXYM=f"{generate(1)};{number}", CF_XDR_MC="甲;乙", CF_FRDB=""),
    ]
    found = read(write(tmp_path / "a.csv", rows))
    assert {line for line, _, code in told(found) if code == "USCC_RESIDENT_ID"} == {2, 3, 4}
    assert not found.outgoing
    write_rejects(tmp_path / form, found.table, found.errors)
    again = read(tmp_path / form)
    assert found.refused_lines == again.refused_lines, "what is covered is no code either"
    found.repairs.write(tmp_path / "repairs.csv")
    outcome = {
        "file": "a.csv", "kind": "PENALTY", "format": "CSV", "encoding": "UTF-8", "rows": 3, "warnings": [], "remarks": [], "dry_run": True,
        "errors": [{"line": e.line, "column": e.column, "value": e.value, "code": e.code, "reason": e.reason} for e in found.errors],
        "repairs": found.repairs.counted(), "repairs_file": None, "rejects_file": None, "refused": 3, "refused_by_intake": 0, "statements": 0,
        "duplicates_in_file": 0, "older": 0, "flagged": 0, "visible": None, "files": [],
        "refusals": [],
    }  # fmt: skip
    print_summary(outcome)
    shown = [json.dumps([outcome, str(found.errors)], ensure_ascii=False), capsys.readouterr().out]
    shown += [(tmp_path / "repairs.csv").read_text(encoding="utf-8-sig")]
    shown += [str(cell) for _, cells in again.table.rows for cell in cells]
    assert not [text for text in shown if holds(text, number)]


@pytest.mark.parametrize("number", written())
def test_the_publisher_sends_none_and_does_not_repeat_it(number: str) -> None:
    publisher = object.__new__(Publisher)  # what refuses needs no server
    publisher.config = PublisherConfig("", "", DEPARTMENT)
    publisher._unsaid = {}
    with pytest.raises(StatementRejected) as refused:
        publisher.publish(said(number))
    assert not holds(str(refused.value), number)


def test_a_long_number_that_excel_rounded_is_covered_too(tmp_path: Path) -> None:
    number = float(next(numbers("110101"))[:17] + "0")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(penalty(CF_SY="") | {"CF_XDR_SHXYM": number}), encoding="utf-8")
    found = read(path)
    write_rejects(tmp_path / "r.csv", found.table, found.errors)
    assert not holds(str(found.errors) + (tmp_path / "r.csv").read_text(encoding="utf-8"), f"{number:.0f}")


def test_what_is_covered_in_a_message_leaves_the_rest_as_it_is() -> None:
    number = passing()[1]
    value = b"\x24" + number.encode() + "编号９１１１，".encode() + b"\x00\x01"
    covered, uscc = masked(value, number)
    assert (len(covered), uscc) == (len(value), None)
    assert covered.replace(b"*", b"") == b"\x24" + "编号９１１１，".encode() + b"\x00\x01"
    wide = number.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}).encode()
    assert masked(b"\x36" + wide, None)[0] == b"\x36" + wide[:18] + b"*" * 33 + wide[-3:]
    code = generate(5)
    assert masked(b"\x24" + code.encode(), code) == (b"\x24" + code.encode(), code)


def test_texts_are_covered_and_codes_in_them_are_not() -> None:
    number = passing()[2]
    text = f"联系人 {number}, 代码 91110000101623741K, 注册号 110000012345678"
    assert cover_persons(text) == text.replace(number[6:17], "*" * 11)
