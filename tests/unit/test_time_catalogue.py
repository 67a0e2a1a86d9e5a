"""The catalogue's files on time: what FACTS knows is in them, and an edit that leaves a gap or contradicts another is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import schemas.catalogue
from schemas.catalogue import CatalogueError, load

SHIPPED = Path(schemas.catalogue.__file__).parent
Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Return what edits one file of a copy: `old` to the end of its line becomes `new`."""

    def edit(name: str, old: str, new: str) -> Path:
        for file in SHIPPED.glob("*.csv"):
            shutil.copy(file, tmp_path)
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        place = next(number for number, line in enumerate(lines) if line.startswith(old))
        lines[place] = lines[place].replace(old, new, 1) if new else ""
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return edit


def test_levels_are_those_of_the_rule() -> None:
    known = {row.level: (row.published, row.min_months, row.max_months) for row in load().time.levels}
    assert known == {"轻微": ("no", 0, 3), "一般": ("yes", 3, 12), "严重": ("yes", 12, 36), "未标明": ("yes", 0, 36)}


def test_a_list_whose_term_is_not_known_has_none() -> None:
    months = {row.list: row.months for row in load().time.list_periods}
    assert {key for key, value in months.items() if value is None} == {"STATISTICS", "COURT", "PROCUREMENT"}
    assert set(months) == set(load().lists)


def test_what_is_background_knowledge_is_marked() -> None:
    rows = load().time
    assert all(row.illustrative == "yes" for row in rows.holidays)
    assert {row.list for row in rows.list_periods if row.illustrative == "yes"} == {"TAX", "MARKET", "STATISTICS"}
    assert all(row.illustrative == "yes" for row in rows.windows), "the notice names no anchor"
    assert all(row.illustrative == "yes" for row in rows.deadlines if row.deadline.startswith("objection"))


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("holidays.csv", "no,春节,2026", "", "the year 2026 has no day off for 春节"),
        ("holidays.csv", "no,国庆节,2026-10-01,2026-10-07", "no,国庆节,2026-10-01,2026-10-10", "2026-10-10 is in line"),
        ("holidays.csv", "no,国庆节,2026-10-01", "no,国庆节,2026-09-26", "is in line"),
        ("holidays.csv", "yes,劳动节,2026-05-09,2026-05-09", "yes,劳动节,2026-05-08,2026-05-09", "is worked anyway"),
        ("holidays.csv", "no,元旦,2026-01-01,2026-01-03", "no,元旦,2026-01-01,", "say the last day"),
        ("holidays.csv", "no,元旦,2026-01-01,2026-01-03", "no,元旦,2026-01-01,2028-01-03", "more than 31 days"),
        ("holidays.csv", "no,元旦,2026-01-01,2026-01-03", "no,新年,2026-01-01,2026-01-03", "'新年' is not in codes.csv"),
        ("levels.csv", "一般,yes,3,12", "一般,yes,13,12", "longer than the longest"),
        ("levels.csv", "一般,yes", "一般,no", "一般 published: no, but visibility.csv says yes from 2026-04-01"),
        ("levels.csv", "一般,", "中等,", "level '中等' is not in codes.csv"),
        ("levels.csv", "未标明,", "", "there is no line for '未标明'"),
        ("levels.csv", "严重,yes,12,36,12,decided_on", "严重,yes,12,36,12,found_on", "counts_from"),
        ("list_periods.csv", "TAX,36,6,listed_on", "TAX,36,6,", "go together"),
        ("list_periods.csv", "TAX,", "TAXES,", "list 'TAXES' is not in lists.csv"),
        ("list_periods.csv", "TAX,36", "TAX,-1", "months"),
        ("windows.csv", "PENALTY,decided_on", "PENALTY,listed_to_removed", "is no anchor of a PENALTY"),
        ("windows.csv", "LISTING,", "", "there is no line for 'LISTING'"),
        ("visibility.csv", "reportable,*,*,REPAIRED,*,*,no", "reportable,*,*,REPAIRED,*,*,yes", "only what is IN_FORCE"),
        ("visibility.csv", "publishable,*,*,IN_FORCE,*,*,no", "publishable,*,一般,IN_FORCE,*,*,no", "no line decides publishable"),
        ("visibility.csv", "publishable,PENALTY,轻微", "publishable,PENALTY,中等", "level '中等' is not in levels.csv"),
        ("deadlines.csv", "report-penalty,*", "report-penalty,shanghai", "province 'shanghai' is not in provinces.csv"),
        ("deadlines.csv", "report-penalty,*,处罚信息报送,7", "report-penalty,*,处罚信息报送,0", "working_days"),
    ],
)  # fmt: skip
def test_a_bad_edit_is_refused_with_its_reason(edited: Edit, name: str, old: str, new: str, told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load(edited(name, old, new))
    assert any(problem.startswith(name) and told in problem for problem in caught.value.problems), caught.value


def test_a_year_left_out_between_two_is_a_gap(edited: Edit) -> None:
    folder = edited("holidays.csv", "no,元旦,2026", "no,元旦,2026")
    file = folder / "holidays.csv"
    file.write_text(file.read_text(encoding="utf-8") + "no,元旦,2028-01-01,2028-01-01,a test,yes\n", encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        load(folder)
    assert "holidays.csv: the year 2027 is missing between 2025 and 2028" in caught.value.problems


@pytest.mark.parametrize(("begins", "good"), [("2027-07-01", True), ("2027-07-02", False)])
def test_a_level_that_changes_leaves_no_day_without_a_rule(edited: Edit, begins: str, good: bool) -> None:
    folder = edited(
        "levels.csv", "一般,yes,3,12,3,decided_on,2026-04-01,,", "一般,yes,3,12,3,decided_on,2026-04-01,2027-06-30,"
    )
    file = folder / "levels.csv"
    new = f"一般,yes,3,6,3,decided_on,{begins},,a test,yes\n"
    file.write_text(file.read_text(encoding="utf-8") + new, encoding="utf-8")
    if good:
        assert [row.max_months for row in load(folder).time.levels if row.level == "一般"] == [12, 6]
        return
    with pytest.raises(CatalogueError, match="nothing holds for '一般' after 2027-06-30"):
        load(folder)
