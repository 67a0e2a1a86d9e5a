"""The catalogue: what FACTS knows is in it, and a bad edit is refused with file, line and reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

import schemas.catalogue
from schemas.catalogue import CatalogueError, load
from schemas.identifiers.uscc_check import check

SHIPPED = Path(schemas.catalogue.__file__).parent
Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Return what edits one file of a copy, as a person would."""

    def edit(name: str, old: str, new: str) -> Path:
        for file in SHIPPED.glob("*.csv"):
            shutil.copy(file, tmp_path)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.count(old) >= 1
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        return tmp_path

    return edit


@pytest.mark.parametrize(("day", "count"), [(date(2023, 9, 1), 20), (date(2024, 9, 1), 42), (date(2025, 9, 1), 45)])
def test_domains_grow_as_the_notice_says(day: date, count: int) -> None:
    assert len(load().domains(day)) == count


def test_the_label_is_apart_from_the_domain() -> None:
    labels = {row.key: row.display_label for row in load().domains(date(2026, 1, 1))}
    assert labels["market"] == labels["education"] == labels["commerce"] == "市场监管(含教育、商务)"
    before = {row.key: row.display_label for row in load().domains(date(2024, 10, 1))}
    assert before["market"] == "市场监管"


def test_seven_lists_each_with_a_domain_and_a_department() -> None:
    catalogue = load()
    assert len(catalogue.lists) == 7
    kept = {key for department in catalogue.departments("beijing") for key in department.lists}
    assert kept == set(catalogue.lists)
    assert {row.domain for row in catalogue.lists.values()} <= {row.key for row in catalogue.domains()}


def test_every_domain_has_a_department_and_every_department_an_authority() -> None:
    catalogue = load()
    answered = {key for department in catalogue.departments("beijing") for key in department.domains}
    assert answered == {row.key for row in catalogue.domains(date(2026, 1, 1))}
    for department in catalogue.departments("beijing"):
        assert department.authorities
        assert not [uscc for uscc, _ in department.authorities if check(uscc)]


def test_what_is_assumed_is_marked() -> None:
    catalogue = load()
    assert len(catalogue.mutual_domains(date(2026, 1, 1))) == 17
    assert all(row.illustrative == "yes" for row in catalogue.mutual)
    certain = {row.name_zh for row in catalogue.domains() if row.illustrative == "no"}
    assert certain == {"市场监管", "公积金", "社会保障", "教育", "商务", "法院执行"}
    assert all(row.source for row in (*catalogue.domain_rows, *catalogue.department_rows, *catalogue.lists.values()))


@pytest.mark.parametrize("province", ["tianjin", "hebei", "shanxi"])
def test_every_province_answers_for_the_mutual_domains_and_keeps_the_lists(province: str) -> None:
    catalogue = load()
    departments = catalogue.departments(province)
    beijing = {one.key: one for one in catalogue.departments("beijing")}
    answered = {domain for one in departments for domain in one.domains}
    assert answered == catalogue.mutual_domains(date(2026, 1, 1))
    assert {key for one in departments for key in one.lists} == set(catalogue.lists)
    assert [one.key for one in departments if one.registers] == ["market-regulation"]
    for one in departments:
        same = beijing[one.key]
        assert (one.domains, one.lists, one.partitions) == (same.domains, same.lists, same.partitions)
        assert one.name_zh != same.name_zh


def test_every_authority_is_of_its_province_and_decides_in_the_domains_of_its_department() -> None:
    catalogue = load()
    may = catalogue.competent_until(date(2026, 1, 1))
    for province, row in catalogue.provinces.items():
        for one in catalogue.departments(province):
            assert one.authorities
            for uscc, _ in one.authorities:
                assert not check(uscc)
                assert uscc[2:4] == row.division
                assert {domain for authority, domain in may if authority == uscc} == set(one.domains)
    assert all(row.illustrative == "yes" for row in (*catalogue.department_rows, *catalogue.competences))


def test_what_another_province_repaired_or_revoked_is_applied_within_a_working_day() -> None:
    (term,) = (row for row in load().time.deadlines if row.deadline == "exchange-apply")
    assert (term.province, term.working_days, term.illustrative) == ("*", 1, "yes")
    assert "河南省" in term.source


def test_a_key_names_a_department_within_its_province(edited: Edit) -> None:
    twice = "tax,国家税务总局天津市税务局,tianjin"
    with pytest.raises(CatalogueError, match=r"line 65: \('tianjin', 'tax'\) holds already by line 55"):
        load(edited("departments.csv", "fire,天津市消防救援总队,tianjin", twice))


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("departments.csv", ",tax,TAX,", ",taxx,TAX,", "domain 'taxx' is not in domains.csv"),
        ("departments.csv", ",tax,TAX,", ",tax,TAXX,", "list 'TAXX' is not in lists.csv"),
        (
            "departments.csv",
            "beijing,2,market",
            "beijing,0,market",
            "partitions: Input should be greater than or equal to 1",
        ),
        ("departments.csv", ",market,MARKET,yes,", ",market,MARKET,perhaps,", "registers"),
        ("entity_kinds.csv", "个体工商户,个体工商户,92", "个体户,个体工商户,92", "kind '个体户' is not in codes.csv"),
        ("entity_kinds.csv", "个体工商户,个体工商户,92", "个体工商户,个体户,92", "kind '个体户' is not in codes.csv"),
        ("entity_kinds.csv", ",93,", ",9,", "prefixes"),
        ("domains.csv", "water,水务", "registration,水务", "is the domain of registrations"),
        ("domains.csv", "2024-09-01", "2024-13-01", "effective_from"),
        (
            "domains.csv",
            "housing-fund,公积金,公积金,2023-09-01,,",
            "tax,公积金,公积金,2023-09-01,,",
            "'tax' holds already by line",
        ),
        (
            "domains.csv",
            "housing-fund,公积金,公积金,2023-09-01,,",
            "housing-fund,公积金,公积金,2023-09-01,",
            "cells, 7 are wanted",
        ),
        ("domains.csv", "display_label", "label", "columns missing: ['display_label']"),
        ("authorities.csv", "11110000M", "11110000N", "is no unified social credit code"),
        (
            "authorities.csv",
            "天津市财政局,tianjin,finance",
            "天津市财政局,tianjin,science",
            "department 'science' of 'tianjin' is not in departments.csv",
        ),
        ("lists.csv", "TAX,", "tax,", "String should match pattern"),
        (
            "codes.csv",
            "status,IN_FORCE,有效,2023-09-01,,",
            "status,IN_FORCE,有效,2023-09-01,2022-01-01,",
            "before it begins",
        ),
    ],
)
def test_a_bad_edit_is_refused_with_line_and_reason(edited: Edit, name: str, old: str, new: str, told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load(edited(name, old, new))
    assert any(problem.startswith(f"{name} line ") and told in problem for problem in caught.value.problems), (
        caught.value
    )


def test_every_bad_line_is_named_at_once(edited: Edit) -> None:
    folder = edited("departments.csv", ",tax,TAX,", ",taxx,TAX,")
    file = folder / "lists.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(",court,", ",kourt,"), encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert {problem.split(" ")[0] for problem in caught.value.problems} == {"departments.csv", "lists.csv"}


def test_another_encoding_is_named(edited: Edit) -> None:
    folder = edited("provinces.csv", "北京市", "北京市")
    text = (folder / "provinces.csv").read_text(encoding="utf-8")
    (folder / "provinces.csv").write_bytes(text.encode("gbk"))
    with pytest.raises(CatalogueError, match=r"provinces\.csv line 2: not UTF-8"):
        load(folder)


def test_one_edit_of_one_file_is_enough(edited: Edit) -> None:
    folder = edited("domains.csv", "water,水务,水务,", "water,水务,水务(含河湖),")
    assert load(folder).domain("water").display_label == "水务(含河湖)"
    assert load(folder).version != load().version


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("*,*,1d,7d,", "*,*,1 day,7d,", "line 2: expected_every: no length of time: write minutes, hours or days"),
        ("*,*,1d,7d,", "*,*,1d,0d,", "line 2: silent_after: no length of time"),
        ("*,*,1d,7d,", "*,*,8d,7d,", "line 2: a source cannot be 中断 before it is expected"),
        ("*,*,1d,7d,", "tax,*,1d,7d,", "no row for * holds without an end"),
        ("*,*,1d,7d,2023-09-01,,", "*,*,1d,7d,2023-09-01,2026-12-31,", "no row for * holds without an end"),
        ("*,*,1d,7d,", "*,tianjin,1d,7d,", "no row for * holds without an end"),
        ("*,*,1d,7d,", "taxx,*,1d,7d,", "line 2: department 'taxx' is not in departments.csv"),
        ("*,*,1d,7d,", "water,beijin,1d,7d,", "line 2: province 'beijin' is not in provinces.csv"),
        (
            "*,*,1d,7d,",
            "science,tianjin,1d,7d,",
            "line 2: department 'science' of 'tianjin' is not in departments.csv",
        ),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(edited: Edit, old: str, new: str, reason: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape("heartbeats.csv")) as refused:
        load(edited("heartbeats.csv", old, new))
    assert any(reason in problem for problem in refused.value.problems), refused.value.problems


def test_a_department_may_have_a_limit_of_its_own_that_changes_on_a_day(edited: Edit) -> None:
    row = "*,*,1d,7d,2023-09-01,,"
    more = "court,*,30m,12h,2023-09-01,2026-03-31,s,yes\ncourt,*,1h,2d,2026-04-01,,s,yes\n"
    found = load(edited("heartbeats.csv", row, more + row)).heartbeats
    assert [(h.department, h.expected_every, h.silent_after) for h in found] == [
        ("court", timedelta(minutes=30), timedelta(hours=12)),
        ("court", timedelta(hours=1), timedelta(days=2)),
        ("*", timedelta(days=1), timedelta(days=7)),
    ]


def test_a_provinces_own_limits_go_before_those_of_all(edited: Edit) -> None:
    row = "*,*,1d,7d,2023-09-01,,"
    more = "court,*,30m,12h,2023-09-01,,s,yes\ncourt,hebei,1h,2d,2023-09-01,,s,yes\n*,hebei,2d,9d,2023-09-01,,s,yes\n"
    found = load(edited("heartbeats.csv", row, more + row))
    assert {row.department: row.silent_after for row in found.limits("hebei")} == {
        "court": timedelta(days=2),
        "*": timedelta(days=9),
    }
    assert {row.department: row.silent_after for row in found.limits("tianjin")} == {
        "court": timedelta(hours=12),
        "*": timedelta(days=7),
    }


def test_two_limits_of_one_department_on_a_day_are_refused(edited: Edit) -> None:
    row = "*,*,1d,7d,2023-09-01,,"
    with pytest.raises(CatalogueError, match=r"line 3: \('\*', '\*'\) holds already by line 2"):
        load(edited("heartbeats.csv", row, row + "s,yes\n" + row))
