"""Files as departments write them, for the tests of the import."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from producers.files.import_file import Import, import_file
from schemas.catalogue import load

AUTHORITY = "11110000M0001017XK"
TAX = load().department("beijing", "tax")

PENALTY: Mapping[str, str] = {
    "CF_XDR_MC": "北京甲某商贸有限公司",
    "CF_XDR_LB": "法人及非法人组织",
    "CF_XDR_SHXYM": "91110000101623741K",
    "CF_FRDB": "张某",
    "CF_WSH": "京税罚〔2025〕1号",
    "CF_WFXW": "未按期申报",
    "CF_SY": "未按照规定的期限办理纳税申报",
    "CF_YJ": "《中华人民共和国税收征收管理法》第六十二条",
    "CF_CFLB": "罚款",
    "CF_NR": "罚款2000元",
    "CF_NR_FK": "0.2",
    "CF_JDRQ": "2025-09-01",
    "CF_YXQ": "2026-09-01",
    "CF_GSJZQ": "2026-12-01",
    "CF_CFJG": "国家税务总局北京市税务局",
    "CF_CFJGDM": AUTHORITY,
    "CF_SJLY": "国家税务总局北京市税务局",
    "CF_SJLYDM": AUTHORITY,
    "更新时间": "2025-09-02 10:00:00",
}

LISTING: Mapping[str, str] = {
    "纳税人名称": "北京甲某商贸有限公司",
    "统一社会信用代码": "91110000101623741K",
    "名单": "重大税收违法失信主体名单",
    "条目编号": "SX-2025-1",
    "列入事由": "虚开发票",
    "列入依据": "国家税务总局令第54号",
    "列入决定机关": "国家税务总局北京市税务局",
    "列入决定机关代码": AUTHORITY,
    "列入日期": "2025年9月1日",
    "更新时间": "2025-09-02 10:00:00",
}

REGISTRATION: Mapping[str, str] = {
    "经营主体名称": "北京甲某商贸有限公司",
    "统一社会信用代码": "91110000101623741K",
    "经营主体类型": "企业",
    "登记机关": "北京市市场监督管理局",
    "登记机关代码": AUTHORITY,
    "成立日期": "2015-03-02",
    "迁出日期": "2024年5月1日",
    "曾用名称": "北京乙某商贸有限公司|2020-05-31;北京丙某商贸有限公司|2022-01-09",
    "现名称启用日期": "2022-01-10",
    "更新时间": "2025-09-02 10:00:00",
}
NAMES = {
    "CF_XDR_MC": "行政相对人名称",
    "CF_XDR_LB": "行政相对人类别",
    "CF_XDR_SHXYM": "行政相对人代码_1(统一社会信用代码)",
    "CF_FRDB": "法定代表人",
    "CF_WSH": "行政处罚决定书文号",
    "CF_WFXW": "违法行为类型",
    "CF_SY": "违法事实",
    "CF_YJ": "处罚依据",
    "CF_CFLB": "处罚类别",
    "CF_NR": "处罚内容",
    "CF_NR_FK": "罚款金额(万元)",
    "CF_JDRQ": "处罚决定日期",
    "CF_YXQ": "处罚有效期",
    "CF_GSJZQ": "公示截止期",
    "CF_CFJG": "处罚机关",
    "CF_CFJGDM": "处罚机关统一社会信用代码",
    "CF_SJLY": "数据来源单位",
    "CF_SJLYDM": "数据来源单位统一社会信用代码",
}
"""Code of a column of the form → its name."""


def penalty(**changes: str) -> dict[str, str]:
    """Return a good row of penalties, with changes."""
    return {**PENALTY, **changes}


def listing(**changes: str) -> dict[str, str]:
    """Return a good row of a list, with changes."""
    return {**LISTING, **changes}


def write(path: Path, rows: Sequence[Mapping[str, Any]], *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    """Write rows as a CSV file."""
    headers = list(dict.fromkeys(header for row in rows for header in row))
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, headers, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path, *, stated_at: datetime | None = None) -> Import:
    """Import a file of the tax authority of Beijing."""
    return import_file(path, TAX, load(), stated_at=stated_at)


def told(found: Import) -> list[tuple[int, str, str]]:
    """Return line, column and code of every error."""
    return [(error.line, error.column, error.code) for error in found.errors]


def bodies(found: Import) -> list[bytes]:
    """Return what would be sent."""
    return [statement.body for statement in found.outgoing]


def codes(errors: Iterable[tuple[int, str, str]]) -> set[str]:
    """Return the codes of errors."""
    return {code for _, _, code in errors}
