"""A registration (经营主体登记), and its statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from producers.errors import StatementRejected
from schemas.records.identity import registration_id
from schemas.records.registration import DOMAIN, KIND, FormerName, write_former_names

__all__ = ["Registration", "registration_statement"]


@dataclass(frozen=True, slots=True)
class Registration:
    """The present or former registration of an entity in the department's province. Days are China's.

    >>> Registration(
    ...     uscc="91110000M00000000W", name="北京甲商贸有限公司", entity_kind="企业", since=date(2015, 3, 2),
    ...     authority="11110000M00010014A", authority_name="北京市市场监督管理局",
    ...     former_names=(FormerName("北京乙商贸有限公司", date(2020, 5, 31)),), name_since=date(2020, 6, 1),
    ... ).subject_kind
    '法人及非法人组织'
    """

    uscc: str
    name: str
    """Its present name; at the end of its registration here, its last one."""
    entity_kind: str
    """经营主体类型: a code of the table entity_kind."""
    since: date
    """成立日期, or 迁入日期 after a move."""
    authority: str
    """登记机关, by its USCC."""
    authority_name: str
    until: date | None = None
    """First day on which it was no longer registered here (迁出日期 or 注销日期)."""
    name_since: date | None = None
    former_names: Sequence[FormerName] = ()
    """曾用名称, oldest first."""
    remark: str | None = None

    @property
    def subject_kind(self) -> str:
        """行政相对人类别, computed from the kind."""
        return "个体工商户" if self.entity_kind == "个体工商户" else "法人及非法人组织"


def registration_statement(
    said: Registration,
    *,
    province: str,
    department: str,
    stated_at: datetime,
    version: int | None = None,
    reason: str = "PUBLISHED",
) -> dict[str, Any]:
    """Return the statement; `version` is by default `stated_at` in milliseconds.

    Raises StatementRejected if the former names cannot be written (a name has `|` or `;`, days do not ascend).
    """
    try:
        former = write_former_names(said.former_names)
    except ValueError as error:
        raise StatementRejected(f"former names: {error}") from error
    moment = stated_at.astimezone(UTC)
    return {
        "record_id": registration_id(province, said.uscc),
        "version": round(moment.timestamp() * 1000) if version is None else version,
        "kind": KIND,
        "status": "IN_FORCE",
        "reason": reason,
        "subject": {"uscc": said.uscc, "name": said.name, "kind": said.subject_kind},
        "province": province,
        "domain": DOMAIN,
        "department": department,
        "authority": said.authority,
        "stated_at": moment,
        "registration": {
            "entity_kind": said.entity_kind,
            "since": said.since,
            "until": said.until,
            "name_since": said.name_since,
            "former_names": former,
            "authority_name": said.authority_name,
            "remark": said.remark,
        },
    }
