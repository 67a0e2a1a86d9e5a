"""Invented registrations of most of the sample's entities: some renamed, moved in or gone; kinds without penalties."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

from producers.sample.invention import Cells, Entity
from schemas.catalogue import Department
from schemas.identifiers.uscc import generate

__all__ = ["later", "registrations"]

_SOCIAL = (
    ("51", "社会组织", "京信行业协会"),
    ("52", "社会组织", "京晨培训学校"),
    ("53", "社会组织", "京益公益基金会"),
    ("54", "基层自治组织", "京郊第一村民委员会"),
    ("55", "基层自治组织", "京城第一社区居民委员会"),
    ("93", "农民专业合作社", "京郊蔬菜专业合作社"),
)
_COMPANIES = ("企业", "企业", "企业", "合伙企业", "个人独资企业", "非法人企业")


def registrations(
    random: Random, today: date, registrars: Sequence[Department], people: Sequence[Entity], division: str, sure: str
) -> dict[str, list[Cells]]:
    """Return the rows of each registering department, by department: cells by Chinese name.

    `division` is the province's two digits, `sure` the code of an entity that is always registered. Every tenth entity
    of the province is left out, so that some are unknown; every twentieth of the others has moved in.
    """
    by_department: dict[str, list[Cells]] = {one.key: [] for one in registrars}
    company = next(one for one in registrars if "market" in one.domains)
    for number, entity in enumerate(people):
        here = entity.uscc[2:4] == division
        if entity.uscc == sure or (number % 10 != 9 if here else number % 20 == 0):
            kind = "个体工商户" if entity.uscc.startswith("92") else random.choice(_COMPANIES)
            cells = _cells(random, today, entity.name, entity.uscc, kind, company)
            if not here:
                cells["迁入日期"] = (today - timedelta(days=random.randrange(200, 900))).isoformat()
            if number % 7 == 0:
                former = f"{entity.name.removesuffix('有限公司').removesuffix('店')}服务部"
                _renamed(cells, former, today - timedelta(days=random.randrange(100, 1500)))
            by_department[company.key].append(cells)
    for number, (prefix, kind, name) in enumerate(_SOCIAL):
        registrar = next((one for one in registrars if one is not company and prefix != "93"), company)
        uscc = generate(7_000_000 + number, prefix=prefix, division=f"{division}0000")
        by_department[registrar.key].append(_cells(random, today, name, uscc, kind, registrar))
    return by_department


def later(rows: Sequence[Cells], today: date, sure: str) -> list[Cells]:
    """Return a registry's rows a day later: a rename, one entity that is gone, one that was never registered."""
    renamed = dict(next((row for row in rows if row["统一社会信用代码"] == sure), rows[0]))
    others = [row for row in rows if row["统一社会信用代码"] != renamed["统一社会信用代码"]]
    old = renamed["经营主体名称"]
    renamed["经营主体名称"] = f"{old[:2]}新{old[2:]}"
    yesterday = today - timedelta(days=1)
    _renamed(renamed, old, yesterday)
    return [
        renamed,
        {**others[0], "注销日期": yesterday.isoformat()},
        {**others[1], "状态": "已撤销"},
    ]


def _cells(random: Random, today: date, name: str, uscc: str, kind: str, registrar: Department) -> Cells:
    authority, authority_name = random.choice(registrar.authorities)
    founded = today - timedelta(days=random.randrange(1600, 9000))
    return {
        "经营主体名称": name,
        "统一社会信用代码": uscc,
        "经营主体类型": kind,
        "登记机关": authority_name,
        "登记机关代码": authority,
        "成立日期": founded.isoformat(),
    }


def _renamed(cells: Cells, former: str, since: date) -> None:
    before = f"{cells['曾用名称']};" if "曾用名称" in cells else ""
    cells["曾用名称"] = f"{before}{former}|{since - timedelta(days=1)}"
    cells["现名称启用日期"] = since.isoformat()
