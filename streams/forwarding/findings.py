"""Findings of the stages themselves: code and text; those of the rules on content are in schemas/rules."""

from __future__ import annotations

from typing import TypedDict

from schemas.identifiers.persons import cover_persons

__all__ = ["STAGE_FINDINGS", "Finding", "finding", "shown"]


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
    "SHARED_ID": "另一部门使用同一记录标识, 按两条记录处理, 互不影响",
    "NEVER_PUBLISHED": "更正、修复、撤销或异议标注的记录此前没有任何版本发布过; 发布的版本若在途中, 可不理会",
    "NEVER_LISTED": "移出的条目此前没有任何版本列入过; 列入的版本若在途中, 可不理会",
    "NEVER_REMOVED": "恢复列入的条目此前没有任何版本移出过; 移出的版本若在途中, 可不理会",
    "NEVER_DISPUTED": "异议核查后维持, 但此前没有任何版本带异议标注; 标注的版本若在途中, 可不理会",
    "REPAIR_UNDONE": "修复之后又声明有效,但变更原因不是更正或恢复列入",
    "REMOVAL_UNDONE": "移出之后又声明在列,但变更原因不是更正或恢复列入",
    "MARK_LOST": "此前版本带异议标注, 本版本没有, 但变更原因不是更正或异议核查后维持",
    "REPAIR_OF_REVOKED": "撤销之后又声明修复, 撤销的记录视同从未有过",
    "POSSIBLE_DUPLICATE": "可能与另一条记录重复(同一机关、同一日期、同一事实)",
    "STORE_REFUSED": "数据库无法保存此记录",
    "REPLAY_REFUSED": "原已接收, 重放时按现行规则不予接收",
    "CUT_OFF": "两名操作员已裁定: 该省此密钥在此期间的声明不予采信",
    "LOST_RECORDS": "部分记录在接收之前已从日志中删除, 须由部门重新发布",
    "OVERRIDDEN": "经人工审核放行",
    "REDRIVEN": "经重新检查, 予以接收",
    "DISCARDED": "经人工审核, 不予接收",
    "SUPERSEDED": "该记录的同一版本或更新版本已被接收",
    "VALUE_MASKED": "内容含疑似居民身份证号, 已遮盖, 无法重新检查; 须由部门重新发布",
    "KEPT_IN_PART": "消息超过 64 KiB, 只保存开头和摘要, 全文在部门主题中保留至其期限届满",
    "VALUE_GONE": "原始内容已过保存期限, 无法重新检查; 须由部门重新发布",
    "MARKER_LATE": "这是标记而不是记录, 不能补发; 由部门发布新的标记",
    "ROW_NOT_SENT": "部门自行退回的行, 平台没有其内容; 由部门改正后发布, 或说明理由不再发布",
    "NO_DEPARTMENT": "目录中已没有该部门",
    "NOT_AVRO": "不是 Confluent 格式的 Avro 消息",
    "EMPTY_VALUE": "消息内容为空",
    "UNKNOWN_SCHEMA": "模式编号未在模式注册中心登记",
    "SCHEMA_DIFFERS": "模式编号的含义与消息所称、或与此前不同, 内容不予读取",
    "SCHEMA_NOT_BELIEVED": "模式不是平台所附的任何版本, 也未经运维人员认可",
    "UNEXPECTED_RECORD": "消息类型不属于部门主题",
    "DAMAGED": "Avro 内容损坏",
    "TRAILING_BYTES": "Avro 内容之后还有多余字节",
    "DECIMAL_OVERFLOW": "金额超过 18 位精度",
    "DATE_RANGE": "日期超出可表示的范围",
    "TOO_LARGE": "消息超过 1 MiB",
    "WRONG_DEPARTMENT": "所称部门与主题不符",
    "EXCHANGE_MESSAGE": "该省无权作此声明, 或内容不合约定",
    "EXCHANGE_PERSON": "统一社会信用代码系自然人身份号码",
    "EXCHANGE_EPOCH": "缺少共享批次号, 或批次号无效",
    "EXCHANGE_PARTITION": "主体与所在分区不符",
    "EXCHANGE_BODY": "状态未知, 或非有效状态仍带内容",
    "EXCHANGE_RECORD": "记录标识不是 32 位小写十六进制",
    "REFUSED_ROW": "部门退回的行: 结果未知, 或缺少编号、版本或理由",
    "MANIFEST_SCOPE": "对账清单所称领域或记录类别不属于该部门",
}
"""Text of each code that a stage finds, not a rule."""


def finding(code: str, *, field: str | None = None, detail: str | None = None) -> Finding:
    """Return the finding with its text, and with the detail if there is one."""
    text = STAGE_FINDINGS[code]
    return {"code": code, "field": field, "message": f"{text}: {shown(detail)}" if detail else text}


def shown(text: str, longest: int = _LONGEST_DETAIL) -> str:
    """Return a foreign text in a form that can be stored and shown, cut to so many characters."""
    # Part of it may come from the message: PostgreSQL stores no U+0000, and control characters could steer a console.
    # Masked before it is cut: half a number is a person's, too.
    return "".join(one if one.isprintable() else "�" for one in cover_persons(text)[:longest])
