"""Examples of rules: a change to a good statement for each rule, for a test and for `xinliu rules CODE`.

A change names fields of the flat frame (schemas/contracts/flat_frame.py); dates are written as in JSON. Some rules
cannot be broken alone: the department does not answer for an unknown domain either. `also` lists such others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import polars as pl

from schemas.contracts.flat_frame import FLAT
from schemas.identifiers.uscc import generate
from schemas.records.identity import record_id

__all__ = ["DEPARTMENT", "EXAMPLES", "Example", "broken", "good"]

Flat = dict[str, Any]

DEPARTMENT = "tax"
"""Key of the department, of Beijing, that makes the good statements."""

_AUTHORITY, _AUTHORITY_NAME = "11110000M0001017XK", "国家税务总局北京市税务局"
_SUBJECT = generate(31)
_BODIES = ("penalty", "listing", "registration")


@dataclass(frozen=True, slots=True)
class Example:
    """An example: the field of the finding, the kind of good statement, the change, and other broken rules."""

    told_of: str
    change: Mapping[str, Any]
    kind: str = "PENALTY"
    also: frozenset[str] = field(default_factory=frozenset)


def good(kind: str) -> Flat:
    """Return a good statement, PENALTY or LISTING, as a row of the flat frame without `row`: it breaks no rule."""
    number = "京税罚〔2026〕1号" if kind == "PENALTY" else "TAX:SX-2026-1"
    said: Flat = dict.fromkeys(name for name in FLAT.names() if name != "row")
    said |= {f"has_{body}": body.upper() == kind for body in _BODIES}
    said |= {
        "record_id": record_id(
            kind=kind, province="beijing", domain="tax", authority=_AUTHORITY, number=number, uscc=_SUBJECT
        ),
        "version": 1_770_000_000_000,
        "kind": kind,
        "status": "IN_FORCE",
        "reason": "PUBLISHED",
        "uscc": _SUBJECT,
        "subject_name": "北京甲某商贸有限公司",
        "subject_kind": "法人及非法人组织",
        "province": "beijing",
        "domain": "tax",
        "department": DEPARTMENT,
        "authority": _AUTHORITY,
        "stated_at": datetime.fromtimestamp(1_770_000_000, UTC),
    }
    said.update(_PENALTY if kind == "PENALTY" else _LISTING)
    return said


_PENALTY: Mapping[str, Any] = MappingProxyType(
    {
        "penalty_document_number": "京税罚〔2026〕1号",
        "penalty_violation_type": "未按规定期限办理纳税申报",
        "penalty_facts": "未在规定期限内申报当期税款",
        "penalty_basis": "《中华人民共和国税收征收管理法》第六十二条",
        "penalty_categories": "罚款",
        "penalty_content": "罚款2000元",
        "penalty_fine": Decimal("0.2"),
        "penalty_decided_on": date(2026, 1, 5),
        "penalty_valid_until": date(2099, 12, 31),
        "penalty_authority_name": _AUTHORITY_NAME,
        "penalty_source_unit": _AUTHORITY_NAME,
        "penalty_source_unit_code": _AUTHORITY,
    }
)
_LISTING: Mapping[str, Any] = MappingProxyType(
    {
        "listing_list": "TAX",
        "listing_entry_id": "SX-2026-1",
        "listing_grounds": "逃避追缴欠税",
        "listing_basis": "《重大税收违法失信主体信息公布管理办法》",
        "listing_authority_name": _AUTHORITY_NAME,
        "listing_listed_on": date(2026, 1, 5),
    }
)


def broken(code: str) -> Flat:
    """Return the good statement of a rule's example with its change made."""
    example = EXAMPLES[code]
    said = good(example.kind) | {name: _typed(name, value) for name, value in example.change.items()}
    for body in _BODIES:
        if not said[f"has_{body}"]:
            said |= {name: None for name in FLAT.names() if name.startswith(f"{body}_")}
    return said


def _typed(name: str, value: Any) -> Any:
    if value is None or not isinstance(value, str):
        return value
    kind = FLAT[name]
    if kind == pl.Date():
        return date.fromisoformat(value)
    if kind == pl.Datetime("ms", "UTC"):
        return datetime.fromisoformat(value)
    return Decimal(value) if kind == pl.Decimal(18, 6) else value


def _one(name: str, value: Any, *also: str, kind: str = "PENALTY", told_of: str | None = None, **rest: Any) -> Example:
    return Example(told_of or name, MappingProxyType({name: value, **rest}), kind, frozenset(also))


EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        "REQUIRED": _one("penalty_facts", " \u3000"),
        "RECORD_ID": _one("record_id", "ABC"),
        "VERSION": _one("version", 0),
        "VERSION_AHEAD": _one("version", 32_472_115_200_000),
        "KIND": _one("kind", "PERMIT", "BODY"),
        "STATUS": _one("status", "CLOSED"),
        "REASON": _one("reason", "OTHER"),
        "REASON_STATUS": _one("reason", "REVOKED"),
        "BODY": _one("has_penalty", False, told_of="penalty"),
        "BODY_LEFT": _one("status", "REVOKED", reason="REVOKED"),
        "PROVINCE": _one("province", "shanghai", "WRONG_PROVINCE"),
        "DOMAIN": _one("domain", "taxx", "WRONG_DOMAIN"),
        "LIST": _one("listing_list", "BLACK", "WRONG_LIST", kind="LISTING"),
        "LIST_DOMAIN": _one("listing_list", "STATISTICS", "WRONG_LIST", kind="LISTING", told_of="domain"),
        "NATURAL_PERSON": _one("subject_kind", "自然人"),
        "SUBJECT_KIND": _one("subject_kind", "其他"),
        "TEXT_TOO_LONG": _one("penalty_document_number", "号" * 129),
        "DATE_RANGE": _one("penalty_valid_until", "9999-12-31"),
        "DECIDED_IN_FUTURE": _one("penalty_decided_on", "2099-01-01"),
        "VALID_BEFORE_DECIDED": _one("penalty_valid_until", "2026-01-04"),
        "PUBLISH_BEFORE_DECIDED": _one("penalty_publish_until", "2026-01-04"),
        "REMOVED_BEFORE_LISTED": _one(
            "listing_removed_on", "2026-01-04", kind="LISTING", listing_removal_reason="更正"
        ),
        "REMOVAL_REASON": _one("listing_removed_on", "2026-02-01", kind="LISTING", told_of="listing_removal_reason"),
        "REMOVAL_CODE": _one("listing_removal_reason", "其他", kind="LISTING", listing_removed_on="2026-02-01"),
        "NEGATIVE_AMOUNT": _one("penalty_confiscated", "-0.2"),
        "CONTROL_CHARACTER": _one("penalty_facts", "违法事实\0"),
        "GARBLED_TEXT": _one("subject_name", "北京\ufffd\ufffd商贸有限公司"),
        "DIRECTION_MARK": _one("subject_name", "北京\u202e司公限有甲"),
        "HIDDEN_CHARACTER": _one("subject_name", "北京甲\xad某商贸有限公司"),
        "PRIVATE_USE": _one("subject_name", "北京\ue863商贸有限公司"),
        "QUESTION_MARKS": _one("subject_name", "北京??商贸有限公司"),
        "HTML_ENTITY": _one("penalty_facts", "未在&nbsp;规定期限内申报"),
        "PERSONAL_IDENTIFIER": _one("penalty_remark", "联系人 362322198709086409 已到场"),
        "CATEGORY": _one("penalty_categories", "罚款;批评教育"),
        "FINE_WITHOUT_AMOUNT": _one("penalty_fine", None),
        "FINE_UNEXPECTED": _one("penalty_categories", "警告", told_of="penalty_fine"),
        "CONFISCATION_WITHOUT_AMOUNT": _one("penalty_categories", "罚款;没收违法所得", told_of="penalty_confiscated"),
        "CONFISCATION_UNEXPECTED": _one("penalty_confiscated", "1"),
        "FINE_IN_YUAN": _one("penalty_fine", "2000"),
        "LICENCE_MISSING": _one("penalty_categories", "罚款;吊销许可证件", told_of="penalty_licence"),
        "AUTHORITY_DOMAIN": _one("domain", "statistics", "WRONG_DOMAIN", told_of="authority"),
        "PLACEHOLDER": _one("penalty_facts", "无"),
        "REMOVED_IN_FUTURE": _one("listing_removed_on", "2099-01-01", kind="LISTING", listing_removal_reason="期满"),
        "USCC_LENGTH": _one("uscc", "9111000"),
        "USCC_ALPHABET": _one("uscc", "I" + _SUBJECT[1:]),
        "USCC_RESIDENT_ID": _one("uscc", "362322198709086409"),
        "USCC_PREFIX": _one("uscc", "94" + _SUBJECT[2:16] + "8E"),
        "USCC_DIVISION": _one("uscc", "9199" + _SUBJECT[4:16] + "8E"),
        "USCC_ORGANISATION": _one("uscc", _SUBJECT[:16] + "0Y"),
        "USCC_CHECK_DIGIT": _one("uscc", "91350211M0000XUF47"),
        "WRONG_DEPARTMENT": _one("department", "court"),
        "WRONG_PROVINCE": _one("province", "tianjin"),
        "WRONG_DOMAIN": _one("domain", "court", "AUTHORITY_DOMAIN"),
        "WRONG_AUTHORITY": _one("authority", "11110000M00010217Y", "AUTHORITY_DOMAIN"),
        "WRONG_LIST": _one("listing_list", "COURT", "LIST_DOMAIN", kind="LISTING"),
    }
)
"""Code of a rule → its example."""
