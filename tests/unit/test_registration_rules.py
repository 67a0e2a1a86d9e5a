"""The rules on registrations, and former names: the columns say what the reading of one text says."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.catalogue import load
from schemas.identifiers.uscc import generate
from schemas.records.identity import record_id, registration_id
from schemas.records.registration import EARLIEST, FormerName, read_former_names, write_former_names
from schemas.rules import RULES, validate, validate_origin
from schemas.rules.registration import REGISTRATION_RULES
from tests.statements import Statement, department, penalty, registration, state
from tests.unit.test_rules import NOW, TODAY, about, frame_of, said

TOMORROW = TODAY + timedelta(days=1)
REGISTRAR = "market-regulation"
R = registration()


def found(*statements: Statement, key: str = REGISTRAR) -> list[tuple[int, str, str]]:
    """Return row, code and field of all findings, those on the origin too."""
    frame = frame_of(*statements)
    told = pl.concat([validate(frame, load(), today=TODAY, now=NOW), validate_origin(frame, department(key))])
    return told.select("row", "code", "field").rows()


BROKEN: list[tuple[str, str, Statement]] = [
    ("REGISTRATION_DOMAIN", "domain", said(R, domain="market")),
    ("REGISTRATION_DOMAIN", "domain", said(penalty("1", key=REGISTRAR), domain="registration")),
    ("REGISTRATION_ID", "record_id", said(R, record_id="0" * 32)),
    ("REGISTRATION_ID", "record_id", said(state(R, "REVOKED", version=2), record_id="0" * 32)),
    ("REGISTRATION_ID", "record_id", about(R, uscc=generate(1))),
    ("REGISTRATION_STATUS", "status", state(R, "REPAIRED", version=2)),
    ("REGISTERED_NAME", "subject_name", registration(name="甲公司;乙公司")),
    ("REGISTERED_NAME", "subject_name", registration(name="甲|乙公司")),
    ("ENTITY_KIND", "registration_entity_kind", registration(entity_kind="公司")),
    ("REGISTERED_IN_FUTURE", "registration_since", registration(since=TOMORROW)),
    ("REGISTERED_IN_FUTURE", "registration_name_since", registration(name_since=TOMORROW)),
    ("UNTIL_BEFORE_SINCE", "registration_until", registration(until=date(2015, 3, 1))),
    ("FORMER_NAMES", "registration_former_names", registration(former_names="")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names="甲公司")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names="甲公司|2020-02-30")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names="甲|乙|2020-02-03")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names=" |2020-02-03")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names="甲|2020-02-03;乙|2020-02-03")),
    ("FORMER_NAMES", "registration_former_names", registration(former_names=f"甲|{TOMORROW}")),
    (
        "FORMER_NAMES",
        "registration_former_names",
        registration(former_names="甲|2020-02-03", name_since=date(2020, 2, 3)),
    ),
    ("ENTITY_KIND_DIFFERS", "registration_entity_kind", registration(uscc=generate(2, prefix="92"))),
    ("ENTITY_KIND_DIFFERS", "registration_entity_kind", registration(subject_kind="个体工商户")),
    ("DIVISION_DIFFERS", "uscc", registration(uscc=generate(3, division="130100"))),
    ("DIVISION_DIFFERS", "uscc", registration(uscc=generate(3, division="310000"))),
    ("REQUIRED", "registration_authority_name", registration(authority_name=" ")),
    ("REQUIRED", "registration_entity_kind", registration(entity_kind="")),
    ("BODY", "registration", said(R, registration=None)),
    ("BODY_LEFT", "status", said(R, status="REVOKED", reason="REVOKED")),
    ("DATE_RANGE", "registration_since", registration(since=date(1899, 12, 31))),
    ("CONTROL_CHARACTER", "registration_remark", registration(remark="前\x00后")),
    ("PERSONAL_IDENTIFIER", "registration_former_names", registration(former_names="362322198709086409|2020-01-01")),
    ("NATURAL_PERSON", "subject_kind", registration(subject_kind="自然人")),
    ("USCC_RESIDENT_ID", "uscc", registration(uscc="362322198709086409")),
    ("WRONG_AUTHORITY", "authority", said(R, authority=department("court").authorities[0][0])),
    ("WRONG_PROVINCE", "province", registration(province="hebei")),
]


@pytest.mark.parametrize(("code", "field", "statement"), BROKEN, ids=[f"{c}-{n}" for n, (c, _, _) in enumerate(BROKEN)])
def test_a_broken_rule_is_found_where_it_is_broken(code: str, field: str, statement: Statement) -> None:
    good = penalty("1", key=REGISTRAR)
    told = found(R, statement, good)
    assert (1, code, field) in told
    assert {row for row, _, _ in told} == {1}, "its neighbours keep every rule"


def test_every_rule_on_registrations_has_a_broken_example_here() -> None:
    assert {rule.code for rule in REGISTRATION_RULES} <= {code for code, _, _ in BROKEN}
    assert {rule.code for rule in REGISTRATION_RULES} <= {rule.code for rule in RULES}


@pytest.mark.parametrize(
    "statement",
    [
        R,
        state(R, "REVOKED", version=2),
        registration(until=date(2015, 3, 2)),
        registration(since=TODAY, until=TODAY),
        registration(name_since=date(2010, 1, 1)),  # renamed elsewhere, before it moved here
        registration(former_names="甲公司|2020-05-31;乙公司|2024-01-09", name_since=date(2024, 1, 10)),
        registration(former_names=f"甲公司|{TODAY}"),
        registration(uscc=generate(4, division="100000")),  # registered nationally: no province
    ],
)
def test_good_registrations_break_none(statement: Statement) -> None:
    assert found(statement) == []


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("91", "企业"),
        ("91", "非法人企业"),
        ("91", "个人独资企业"),
        ("91", "合伙企业"),
        ("93", "农民专业合作社"),
        ("92", "个体工商户"),
        ("51", "社会组织"),
        ("52", "社会组织"),
        ("53", "社会组织"),
        ("54", "基层自治组织"),
        ("55", "基层自治组织"),
    ],
)
def test_every_kind_of_entity_with_its_code(prefix: str, kind: str) -> None:
    subject = "个体工商户" if kind == "个体工商户" else "法人及非法人组织"
    statement = registration(uscc=generate(7, prefix=prefix), entity_kind=kind, subject_kind=subject)
    assert found(statement) == []
    other = "94" if prefix == "93" else "93" if kind != "农民专业合作社" else "91"
    wrong = registration(uscc=generate(7, prefix=other), entity_kind=kind, subject_kind=subject)
    assert "ENTITY_KIND_DIFFERS" in {code for _, code, _ in found(wrong)}


def test_the_table_of_kinds_is_the_code_table() -> None:
    assert set(load().entity_kinds) == set(load().codes("entity_kind"))


def test_only_who_registers_may_say_so() -> None:
    registrars = {one.key for one in load().departments("beijing") if one.registers}
    assert registrars == {"market-regulation", "civil-affairs"}
    for key in (one.key for one in load().departments("beijing")):
        told = {code for _, code, _ in found(registration(key=key), key=key)}
        assert told == (set() if key in registrars else {"WRONG_REGISTRAR"}), key


def test_what_contradicts_the_code_is_no_mistake() -> None:
    severity = {rule.code: rule.severity for rule in REGISTRATION_RULES}
    assert {code for code, how in severity.items() if how == "flag"} == {"ENTITY_KIND_DIFFERS", "DIVISION_DIFFERS"}


def test_one_id_for_each_entity_and_province() -> None:
    uscc = generate(1)
    assert registration_id("beijing", uscc) == registration_id("beijing", uscc.lower())
    others = {registration_id("hebei", uscc), registration_id("beijing", generate(2))}
    assert registration_id("beijing", uscc) not in others
    assert len(others) == 2
    same = {"kind": "REGISTRATION", "province": "beijing", "domain": "", "authority": "", "number": "", "uscc": uscc}
    assert registration_id("beijing", uscc) != record_id(**same)


def test_an_id_never_changes() -> None:
    """Spelt out: another way to compute it would give every registration published so far a second life."""
    text = "REGISTRATION\x1fbeijing\x1f91110000M00000000W"
    assert (
        registration_id("beijing", "91110000M00000000W") == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    )
    assert registration_id("beijing", "91110000M00000000W") == "fe7f3a13c25da33c3b56b51f2eb4699f"


NAMES = st.text(alphabet="甲乙公司有限 AB　（）", min_size=1, max_size=8).filter(lambda name: name.strip())
DAYS = st.dates(EARLIEST, TODAY)


@given(names=st.lists(NAMES, max_size=5), days=st.lists(DAYS, min_size=5, max_size=5, unique=True))
def test_former_names_are_read_as_they_were_written(names: list[str], days: list[date]) -> None:
    former = tuple(FormerName(*pair) for pair in zip(names, sorted(days), strict=False))
    assert read_former_names(write_former_names(former)) == former
    assert found(registration(former_names=write_former_names(former))) == []


@pytest.mark.parametrize("name", ["甲|乙", "甲;乙", "", "  ", "\u3000"])
def test_no_text_can_say_some_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"\||NAME"):
        write_former_names([FormerName(name, date(2020, 1, 1))])


LOOSE = st.lists(
    st.sampled_from(["甲公司", "|", ";", "2020-05-31", "2024-01-09", "1899-12-31", "2023-02-29", "２０２０-05-31", " ", "\x1c", "\n", "|2021-1-1"]),
    max_size=9,
).map("".join)  # fmt: skip


@given(LOOSE | st.text(max_size=30))
@example("甲|2020-05-31\n")
@example("甲|0000-05-31")
@example("\x1c|2020-05-31")
@example("甲|2020-05-31;")
def test_the_columns_say_of_former_names_what_reading_one_says(text: str) -> None:
    try:
        days = [name.last_day for name in read_former_names(text)]
        good = max(days) <= TODAY
    except ValueError:
        good = False
    told = {code for _, code, _ in found(registration(former_names=text))}
    assert ("FORMER_NAMES" not in told) == good
