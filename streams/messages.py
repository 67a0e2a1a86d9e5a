"""What the stages themselves find: code and text; the rules on content have theirs in schemas/rules."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["STAGE_FINDINGS", "Finding", "finding"]


_LONGEST_DETAIL = 300


class Finding(TypedDict):
    """One finding as receipts and the quarantine carry it (xinliu.Finding)."""

    code: str
    field: str | None
    message: str


STAGE_FINDINGS = {
    "OLDER": "已持有更高版本,本次声明不改变现状",
    "VERSION_CONFLICT": "同一记录同一版本有两份不同内容",
    "REVIVED": "撤销之后又声明有效,但变更原因不是更正或恢复列入",
    "POSSIBLE_DUPLICATE": "可能与另一条记录重复(同一机关、同一日期、同一事实)",
    "STORE_REFUSED": "数据库无法保存此记录",
    "LOST_RECORDS": "部分记录在接收之前已从日志中删除, 须由部门重新发布",
    "NOT_AVRO": "不是 Confluent 格式的 Avro 消息",
    "EMPTY_VALUE": "消息内容为空",
    "UNKNOWN_SCHEMA": "模式编号未在模式注册中心登记",
    "UNEXPECTED_RECORD": "消息类型不属于部门主题",
    "DAMAGED": "Avro 内容损坏",
    "TRAILING_BYTES": "Avro 内容之后还有多余字节",
    "DECIMAL_OVERFLOW": "金额超过 18 位精度",
    "DATE_RANGE": "日期超出可表示的范围",
    "TOO_LARGE": "消息超过 1 MiB",
    "WRONG_DEPARTMENT": "所称部门与主题不符",
    "MANIFEST_SCOPE": "对账清单所称领域或记录类别不属于该部门",
}
"""Text of each code that is found by a stage, not by a rule."""


def finding(code: str, *, field: str | None = None, detail: str | None = None) -> Finding:
    """Return the finding with its text, and the detail where there is one."""
    text = STAGE_FINDINGS[code]
    return {"code": code, "field": field, "message": f"{text}: {_shown(detail)}" if detail else text}


def _shown(detail: str) -> str:
    # Part of it may be the message's own: PostgreSQL keeps no U+0000, and a console should not be steered by it.
    return "".join(one if one.isprintable() else "�" for one in detail[:_LONGEST_DETAIL])
