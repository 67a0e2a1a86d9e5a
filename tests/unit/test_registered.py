"""Where an entity is registered, made of its registrations: in any order, with moves, renames and what the code says."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from consumers.commands.printing.entity import heading
from consumers.report.registration import Registered, registered
from schemas.identifiers.uscc import generate
from schemas.records.registration import FormerName

PROVINCES = {"11": "beijing", "12": "tianjin", "13": "hebei", "14": "shanxi"}
USCC = generate(1)


def row(province: str, since: date, **changes: Any) -> dict[str, Any]:
    """Return a row of report.registration."""
    return {
        "record_id": f"of {province}",
        "name": f"{province}的名称",
        "subject_kind": "法人及非法人组织",
        "entity_kind": "企业",
        "province": province,
        "since": since,
        "until": None,
        "name_since": None,
        "former_names": None,
        "authority_name": f"{province}的登记机关",
        "remark": None,
        "department": "market-regulation",
        "authority": "",
        "version": 1,
        "digest_hi": 0,
        "digest_lo": 0,
        "stated_at": None,
        "known_at": None,
        **changes,
    }


BEIJING = row("beijing", date(2015, 3, 2), until=date(2024, 5, 1), former_names="甲|2018-01-31")
HEBEI = row("hebei", date(2024, 5, 1), former_names="甲|2018-01-31;乙|2025-02-28", name_since=date(2025, 3, 1))


def made(*rows: dict[str, Any], uscc: str = USCC, waiting: int = 0) -> Registered:
    """Make one of these rows; the record stated last says 旧称."""
    return registered(uscc, rows, PROVINCES, ("旧称", "法人及非法人组织"), waiting)


def shown(who: Registered, uscc: str = USCC) -> str:
    """Return the lines as a terminal shows them."""
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        for line in heading(uscc, who):
            console.print(line, highlight=False)
    return capture.get()


@given(st.permutations([BEIJING, HEBEI, row("tianjin", date(2010, 1, 1)), row("shanxi", date(2024, 5, 1), version=0)]))
def test_any_order_says_the_same(rows: list[dict[str, Any]]) -> None:
    who = made(*rows)
    assert (who.name, who.kind, who.name_source) == ("hebei的名称", "企业", "REGISTRY")
    assert (who.province, who.province_source, who.since) == ("hebei", "REGISTRY", date(2024, 5, 1))
    assert [(move.from_province, move.to_province) for move in who.moves] == [("beijing", "hebei")]
    assert [one["province"] for one in who.contested] == ["shanxi", "tianjin"], "they never said that it left them"
    assert who.former_names == (FormerName("甲", date(2018, 1, 31)), FormerName("乙", date(2025, 2, 28)))
    assert [one["current"] for one in who.registrations] == [True, False, False, False]


@pytest.mark.parametrize("rank", ["version", "digest_hi", "digest_lo"])
def test_of_two_of_one_day_the_higher_rank_is_the_present_one(rank: str) -> None:
    one, other = row("beijing", date(2024, 5, 1)), row("hebei", date(2024, 5, 1), **{rank: 2})
    assert made(one, other).province == made(other, one).province == "hebei"


def test_a_move_tells_when_it_left_and_when_it_came() -> None:
    (move,) = made(HEBEI, BEIJING).moves
    assert (move.from_province, move.left_on) == ("beijing", date(2024, 5, 1))
    assert (move.to_province, move.moved_on) == ("hebei", date(2024, 5, 1))
    text = shown(made(HEBEI, BEIJING))
    assert "登记地  河北省,2024-05-01 起" in text
    assert "北京市(2015-03-02 起,2024-05-01 迁出) → 河北省(2024-05-01 起)" in text
    assert "曾用名  甲(至 2018-01-31)、乙(至 2025-02-28);现名称 2025-03-01 起" in text
    assert "代码中的行政区划(110000)不属于登记地河北省" in text


@pytest.mark.parametrize(
    ("division", "province", "text"),
    [
        ("110000", "beijing", "首次登记地 北京市(由代码推定)"),
        ("140100", "shanxi", "首次登记地 山西省(由代码推定)"),
        ("310000", None, "首次登记地不在京津冀晋(由代码推定)"),
        ("100000", None, "代码由国家登记,不指明省份"),
    ],
)
def test_without_a_registration_the_code_says_where_it_was_first(
    division: str, province: str | None, text: str
) -> None:
    uscc = generate(1, division=division)
    who = made(uscc=uscc)
    assert (who.name, who.name_source, who.province, who.province_source) == ("旧称", "STATEMENT", province, "CODE")
    assert not who.division_differs
    assert text in shown(who, uscc)


@pytest.mark.parametrize(
    ("division", "differs"), [("110000", False), ("130100", True), ("310000", True), ("100000", False)]
)
def test_a_division_of_elsewhere_is_told(division: str, differs: bool) -> None:
    uscc = generate(1, division=division)
    who = made(row("beijing", date(2015, 3, 2)), uscc=uscc)
    assert who.division_differs == differs
    assert ("提示" in shown(who, uscc)) == differs


def test_who_has_left_is_not_said_to_be_there() -> None:
    who = made(row("beijing", date(2015, 3, 2), until=date(2024, 5, 1)))
    assert who.until == date(2024, 5, 1)
    assert "2024-05-01 起不在此登记(迁出或注销)" in shown(who)


def test_what_waits_is_told_and_names_are_no_markup() -> None:
    text = shown(made(row("beijing", date(2015, 3, 2), name="[bold]甲[/bold]"), waiting=2))
    assert "另有 2 条登记记录被退回" in text
    assert "[bold]甲[/bold]" in text


def test_of_an_entity_without_any_record_the_code_alone_speaks() -> None:
    who = registered(USCC, (), PROVINCES, (None, None), 0)
    assert (who.name, who.name_source, who.province) == (None, None, "beijing")
    assert "(未见任何记录)" in shown(who)


TODAY = date(2026, 6, 1)
OURS = row("beijing", date(2010, 6, 10))


@pytest.mark.parametrize(
    "claim",
    [
        row("tianjin", date(2026, 5, 31), name="已注销的公司(假)", version=2**62),
        row("tianjin", date(2010, 6, 10), version=2**62),
        row("tianjin", date(1900, 1, 1)),
        row("tianjin", date(2020, 1, 1), until=date(2021, 1, 1)),
        row("tianjin", date(2026, 5, 31), until=date(2026, 6, 1)),
        row("tianjin", date(2026, 6, 1), until=date(2026, 6, 1)),
    ],
    ids=["newer", "same day", "oldest", "ended since", "ends today", "of one day"],
)
def test_what_ours_still_holds_no_other_province_takes_or_ends(claim: dict[str, Any]) -> None:
    who = registered(USCC, [claim, OURS], PROVINCES, (None, None), 0, today=TODAY, own="beijing")
    assert (who.name, who.province, who.since, who.until) == (OURS["name"], "beijing", OURS["since"], None)
    assert [one["province"] for one in who.contested] == ["tianjin"]
    assert who.moves == ()
    assert "待核    登记地有争议:天津市称" in shown(who)
    elsewhere = registered(USCC, [claim, OURS], PROVINCES, (None, None), 0, today=TODAY, own="shanxi")
    assert elsewhere.contested and elsewhere.until is None, "whoever holds neither ends nothing and says so"


def test_a_day_to_come_is_not_current_and_contests_nothing() -> None:
    ahead = row("tianjin", date(2999, 12, 31), name="未来的公司")
    who = registered(USCC, [ahead, OURS], PROVINCES, (None, None), 0, today=TODAY, own="beijing")
    assert (who.province, who.contested, who.moves) == ("beijing", (), ())
    alone = registered(USCC, [ahead], PROVINCES, ("旧称", None), 0, today=TODAY, own="beijing")
    assert (alone.name, alone.province_source) == ("旧称", "CODE")


def test_a_move_is_over_once_the_registry_that_was_left_says_so() -> None:
    left = OURS | {"until": date(2026, 5, 1)}
    who = registered(
        USCC, [left, row("tianjin", date(2026, 4, 20))], PROVINCES, (None, None), 0, today=TODAY, own="beijing"
    )
    assert (who.province, who.contested) == ("tianjin", ())
    assert [move.to_province for move in who.moves] == ["tianjin"]


def test_an_operator_decides_and_only_while_that_registration_stands() -> None:
    claim = row("tianjin", date(2026, 1, 1))
    made_of = {"today": TODAY, "own": "beijing", "settled": "tianjin"}
    who = registered(USCC, [claim, OURS], PROVINCES, (None, None), 0, **made_of)
    assert (who.province, who.contested) == ("tianjin", ())
    ended = claim | {"until": date(2026, 5, 1)}
    back = registered(USCC, [ended, OURS], PROVINCES, (None, None), 0, **made_of)
    assert (back.province, len(back.contested)) == ("beijing", 1)
