"""Every rule: a statement that breaks it is found, one that keeps it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements
from schemas.contracts.registry import WriterSchema
from schemas.rules import FINDINGS, RULES, validate, validate_origin
from schemas.rules.examples import EXAMPLES
from schemas.rules.registration import REGISTRATION_RULES
from tests.statements import Statement, department, listing, penalty, state

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)


def frame_of(*statements: Statement) -> pl.DataFrame:
    """Return statements as intake sees them."""
    return decode_statements(
        WRITER, [encode(NAME, statement) for statement in statements], range(len(statements))
    ).frame


def found(*statements: Statement) -> list[tuple[int, str, str]]:
    """Return row, code and field of all findings, those on the origin too."""
    frame = frame_of(*statements)
    told = pl.concat([validate(frame, load(), today=TODAY, now=NOW), validate_origin(frame, department())])
    assert told.schema == FINDINGS
    return told.select("row", "code", "field").rows()


def said(statement: Statement, **changes: Any) -> Statement:
    """Return the statement with fields of its envelope changed."""
    return {**statement, **changes}


def about(statement: Statement, **changes: Any) -> Statement:
    """Return the statement with fields of its subject changed."""
    return {**statement, "subject": {**statement["subject"], **changes}}


P, L = penalty("规1号"), listing("规2号")
BROKEN: list[tuple[str, str, Statement]] = [
    ("REQUIRED", "penalty_facts", penalty("1", facts=" \u3000")),
    ("RECORD_ID", "record_id", said(P, record_id="ABC")),
    ("VERSION", "version", said(P, version=0)),
    ("VERSION_AHEAD", "version", said(P, version=int((NOW + timedelta(minutes=11)).timestamp() * 1000))),
    ("VERSION_AHEAD", "stated_at", said(P, stated_at=NOW + timedelta(minutes=11))),
    ("KIND", "kind", said(P, kind="PERMIT")),
    ("STATUS", "status", said(P, status="CLOSED")),
    ("REASON", "reason", said(P, reason="OTHER")),
    ("REASON_STATUS", "reason", said(P, reason="REVOKED")),
    ("BODY", "penalty", said(P, penalty=None)),
    ("BODY", "listing", said(P, listing=L["listing"])),
    ("BODY_LEFT", "status", said(P, status="REVOKED", reason="REVOKED")),
    ("DISPUTED_STATUS", "disputed_since", said(state(P, "REPAIRED", version=2), disputed_since=TODAY)),
    ("DISPUTED_DAY", "disputed_since", said(P, reason="DISPUTED")),
    ("UPHELD_MARKED", "disputed_since", said(P, reason="UPHELD", disputed_since=TODAY)),
    ("DISPUTED_IN_FUTURE", "disputed_since", said(P, reason="DISPUTED", disputed_since=TODAY + timedelta(days=1))),
    ("REMOVED_DAY", "listing_removed_on", said(L, reason="REMOVED")),
    ("REMOVED_DAY", "listing_removed_on", said(P, reason="REMOVED")),
    (
        "RELISTED_REMOVED",
        "listing_removed_on",
        said(listing("1", removed_on=TODAY, removal_reason="期满"), reason="RELISTED"),
    ),
    ("PROVINCE", "province", said(P, province="shanghai")),
    ("DOMAIN", "domain", said(P, domain="taxx")),
    ("LIST", "listing_list", listing("1", list="BLACK")),
    ("LIST_DOMAIN", "domain", said(listing("1"), domain="statistics")),
    ("NATURAL_PERSON", "subject_kind", about(P, kind="自然人")),
    ("SUBJECT_KIND", "subject_kind", about(P, kind="其他")),
    ("CONTROL_CHARACTER", "penalty_facts", penalty("1", facts="前\x00后")),
    ("PERSONAL_IDENTIFIER", "penalty_remark", penalty("1", remark="联系人 362322198709086409。")),
    ("TEXT_TOO_LONG", "penalty_document_number", penalty("号" * 129)),
    ("DATE_RANGE", "penalty_valid_until", penalty("1", valid_until=date(9999, 12, 31))),
    ("DECIDED_IN_FUTURE", "penalty_decided_on", penalty("1", decided_on=TODAY + timedelta(days=1))),
    ("DECIDED_IN_FUTURE", "listing_listed_on", listing("1", listed_on=TODAY + timedelta(days=1))),
    ("VALID_BEFORE_DECIDED", "penalty_valid_until", penalty("1", valid_until=date(2020, 1, 1))),
    ("PUBLISH_BEFORE_DECIDED", "penalty_publish_until", penalty("1", publish_until=date(2020, 1, 1))),
    ("LEVEL", "penalty_level", penalty("1", level="特别严重")),
    ("PUBLISH_OUT_OF_BOUNDS", "penalty_publish_until", penalty("1", level="一般", publish_until=date(2026, 2, 1))),
    ("PUBLISH_OUT_OF_BOUNDS", "penalty_publish_until", penalty("1", level="一般", publish_until=date(2027, 1, 2))),
    ("REMOVED_BEFORE_LISTED", "listing_removed_on", listing("1", removed_on=date(2020, 1, 1), removal_reason="期满")),
    ("REMOVAL_REASON", "listing_removal_reason", listing("1", removed_on=date(2026, 3, 1))),
    ("REMOVAL_REASON", "listing_removal_reason", listing("1", removal_reason="期满")),
    ("REMOVAL_CODE", "listing_removal_reason", listing("1", removed_on=date(2026, 3, 1), removal_reason="其他")),
    ("NEGATIVE_AMOUNT", "penalty_fine", penalty("1", fine=Decimal("-0.000001"))),
    ("CATEGORY", "penalty_categories", penalty("1", categories="罚款;批评教育")),
    ("FINE_WITHOUT_AMOUNT", "penalty_fine", penalty("1", fine=None)),
    ("LICENCE_MISSING", "penalty_licence", penalty("1", categories="吊销许可证件")),
    ("USCC_LENGTH", "uscc", about(P, uscc="9111")),
    ("USCC_ALPHABET", "uscc", about(P, uscc="I" + P["subject"]["uscc"][1:])),
    ("USCC_RESIDENT_ID", "uscc", about(P, uscc="362322198709086409")),
    ("USCC_PREFIX", "uscc", about(P, uscc="94" + P["subject"]["uscc"][2:])),
    ("USCC_DIVISION", "uscc", about(P, uscc=P["subject"]["uscc"][:2] + "99" + P["subject"]["uscc"][4:])),
    ("USCC_ORGANISATION", "uscc", about(P, uscc="111111111111111111")),
    ("USCC_CHECK_DIGIT", "uscc", about(P, uscc="91350211M0000XUF47")),
    ("USCC_CHECK_DIGIT", "penalty_source_unit_code", penalty("1", source_unit_code="91350211M0000XUF47")),
    ("WRONG_DEPARTMENT", "department", said(P, department="court")),
    ("WRONG_PROVINCE", "province", said(P, province="tianjin")),
    ("WRONG_DOMAIN", "domain", said(P, domain="court")),
    ("WRONG_AUTHORITY", "authority", said(P, authority=department("court").authorities[0][0])),
    ("WRONG_LIST", "listing_list", listing("1", list="COURT")),
]


@pytest.mark.parametrize(("code", "field", "statement"), BROKEN, ids=[f"{code}-{field}" for code, field, _ in BROKEN])
def test_a_broken_rule_is_found_where_it_is_broken(code: str, field: str, statement: Statement) -> None:
    told = found(P, statement, L)
    assert (1, code, field) in told
    assert {row for row, _, _ in told} == {1}, "its neighbours keep every rule"


def test_every_rule_has_a_broken_example_here() -> None:
    elsewhere = {rule.code for rule in REGISTRATION_RULES} | {"WRONG_REGISTRAR"}  # test_registration_rules.py
    assert {code for code, _, _ in BROKEN} | EXAMPLES.keys() == {rule.code for rule in RULES} - elsewhere


@pytest.mark.parametrize(
    "statement",
    [
        P,
        L,
        state(P, "REVOKED", version=2),
        state(L, "REPAIRED", version=2),
        penalty("1", categories="警告；罚款; 没收违法所得", confiscated=Decimal("1.5")),
        penalty("1", valid_until=date(2099, 12, 31), publish_until=date(2027, 1, 1)),
        penalty("1", fine=Decimal("999999999999.999999")),
        penalty("1", level="一般", publish_until=date(2027, 1, 1)),
        penalty("1", level="严重"),
        penalty("1", publish_until=date(2999, 1, 1)),
        listing("1", removed_on=date(2026, 3, 1), removal_reason="提前移出", valid_until=None),
        said(P, version=7),
        about(P, kind="个体工商户", uscc="92" + P["subject"]["uscc"][2:])
        if not found(about(P, kind="个体工商户", uscc="92" + P["subject"]["uscc"][2:]))
        else P,
    ],
)
def test_good_statements_break_none(statement: Statement) -> None:
    assert found(statement) == []


def test_values_are_shown_without_persons_numbers(capsys: Callable[..., Any]) -> None:
    frame = frame_of(about(P, uscc="362322198709086409"), penalty("1", remark="联系人 362322198709086409。"))
    told = validate(frame, load(), today=TODAY, now=NOW)
    assert told.height >= 2
    assert "19870908" not in "".join(value or "" for value in told["value"])


def test_rules_are_told_in_two_languages_with_their_sources() -> None:
    for rule in RULES:
        assert rule.severity in ("refuse", "flag")
        assert rule.text_zh
        assert rule.text_en
        assert rule.source
        assert rule.example
