"""The changes of a record's life as statements: each function makes the next version of a record from the one before.

The functions are pure: no server, no change in place. An impossible change raises StatementRejected with the reason. A
statement is a mapping as schemas/avro/Statement.avsc has it. `named` makes one without content for a department that
has kept only the record's identity, which is enough to repair or revoke it.

A new version must be greater than the old one. By default it is the time in milliseconds since 1970, or one more than
the old version if that is later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from producers.errors import StatementRejected
from schemas.calendar.periods import china_day
from schemas.catalogue import Department, load
from schemas.contracts.avro import source
from schemas.records.identity import record_id

__all__ = ["Statement", "corrected", "disputed", "named", "relisted", "removed", "repaired", "revoked", "upheld"]

Statement = dict[str, Any]

_FIELDS = {field["name"]: field for field in source("xinliu.Statement")["fields"]}
_BODIES = tuple(
    name for name, field in _FIELDS.items() if isinstance(field["type"], list) and field["type"][1]["type"] == "record"
)
_MANDATORY = tuple(name for name, field in _FIELDS.items() if "default" not in field)
_WORDS = {"PENALTY": "a penalty", "LISTING": "a list entry", "REGISTRATION": "a registration"}


def named(
    department: Department,
    *,
    kind: str,
    uscc: str,
    name: str,
    number: str | None = None,
    list_key: str | None = None,
    domain: str | None = None,
    authority: str | None = None,
    subject_kind: str | None = None,
    record: str | None = None,
) -> Statement:
    """Return the identity of a record, as a statement without content and with version 0.

    `number` is the document number (文号) of a PENALTY, the entry id (条目编号) of a LISTING; together with the rest it
    gives the id. `record` is the id itself: needed if number or subject were corrected since the first publication.
    Domain, authority and list may be left out if the department has only one. Raises StatementRejected if one is
    missing and the department does not determine it.
    """
    authorities = [code for code, _ in department.authorities]
    chosen = {
        "domain": _one("domain", domain, department.domains),
        "authority": _one("authority", authority, authorities),
    }
    if record is None:
        if not number:
            raise StatementRejected("a record is named by its document number or entry id, or by its record_id")
        listed = f"{_one('list', list_key, department.lists)}:{number}" if kind == "LISTING" else number
        record = record_id(kind=kind, province=department.province, number=listed, uscc=uscc, **chosen)
    return {
        "record_id": record,
        "version": 0,
        "kind": kind,
        "status": "IN_FORCE",
        "reason": "PUBLISHED",
        "subject": {"uscc": uscc, "name": name, "kind": subject_kind or _kind_of(uscc)},
        "province": department.province,
        "department": department.key,
        "stated_at": datetime.fromtimestamp(0, UTC),
        "disputed_since": None,
        **chosen,
        **dict.fromkeys(_BODIES),
    }


def corrected(
    statement: Mapping[str, Any],
    *,
    subject: Mapping[str, Any] | None = None,
    version: int | None = None,
    stated_at: datetime | None = None,
    **content: Any,
) -> Statement:
    """更正: return the next version with other content, money, document number or entity; the record_id stays.

    `content` are fields of the body (`fine=Decimal("0.3")`, `document_number="…"`), `subject` those of the entity: with
    another uscc the record moves to that entity, and the old one loses it. The mark of an objection is lifted. A
    repaired or revoked record, which has no content, comes back in force if all of it is given.
    """
    if not content and not subject:
        raise StatementRejected("a correction that changes nothing: say what was wrong, or use upheld to lift the mark")
    body = _body_name(statement)
    known = {field["name"] for field in _FIELDS[body]["type"][1]["fields"]}
    unknown = sorted(content.keys() - known)
    if unknown:
        raise StatementRejected(f"{body} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return {
        **_next(statement, "CORRECTED", version, stated_at),
        "subject": {**statement["subject"], **(subject or {})},
        "disputed_since": None,
        body: {**(statement.get(body) or {}), **content},
    }


def repaired(
    statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
) -> Statement:
    """信用修复: return the next version, hidden and no longer shared; history keeps the content."""
    if statement.get("status") in ("REPAIRED", "REVOKED"):
        raise StatementRejected(f"the record is {statement['status']} already")
    return _without_content(statement, "REPAIRED", version, stated_at)


def revoked(
    statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
) -> Statement:
    """撤销: return the next version, after which the record is as if it had never been: content is erased everywhere."""
    if statement.get("status") == "REVOKED":
        raise StatementRejected("the record is REVOKED already")
    return _without_content(statement, "REVOKED", version, stated_at)


def removed(
    statement: Mapping[str, Any],
    *,
    on: date,
    why: str,
    version: int | None = None,
    stated_at: datetime | None = None,
) -> Statement:
    """移出: return the next version of a list entry, removed on that day.

    `why` is a code of the table removal_reason: 期满, 提前移出, 撤销 or 更正.
    """
    entry = _entry(statement, "removed")
    if entry.get("removed_on") is not None:
        raise StatementRejected(f"the entry was removed on {entry['removed_on']} already")
    known = load().codes("removal_reason")
    if why not in known:
        raise StatementRejected(f"there is no removal reason {why!r}: {', '.join(known)}")
    _must_be_day("the day of removal", on)
    if on < entry["listed_on"]:
        raise StatementRejected(f"removed on {on}, before it was listed on {entry['listed_on']}")
    listing = {**entry, "removed_on": on, "removal_reason": why}
    return {**_next(statement, "REMOVED", version, stated_at), "listing": listing}


def relisted(
    statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
) -> Statement:
    """恢复列入: return the next version of a removed list entry, whose removal was obtained by fraud: in force again.

    The same entry goes on from the day it was first listed (应急管理部令第11号).
    """
    entry = _entry(statement, "relisted")
    if entry.get("removed_on") is None:
        raise StatementRejected("the entry was never removed: there is nothing to undo")
    listing = {**entry, "removed_on": None, "removal_reason": None}
    return {**_next(statement, "RELISTED", version, stated_at), "listing": listing}


def disputed(
    statement: Mapping[str, Any],
    *,
    since: date | None = None,
    version: int | None = None,
    stated_at: datetime | None = None,
) -> Statement:
    """异议标注: return the next version with the mark of an accepted objection, since today (China) by default."""
    _must_have_content(statement, "marked as disputed")
    if statement.get("disputed_since") is not None:
        raise StatementRejected(f"the record bears the mark since {statement['disputed_since']} already")
    today = china_day(datetime.now(UTC))
    day = today if since is None else since
    _must_be_day("the day of the mark", day)
    if day > today:
        raise StatementRejected(f"disputed since {day}: that day has not come")
    return {**_next(statement, "DISPUTED", version, stated_at), "disputed_since": day}


def upheld(statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None) -> Statement:
    """异议核查后维持: return the next version without the mark; the record stands as it was."""
    _must_have_content(statement, "upheld")
    if statement.get("disputed_since") is None:
        raise StatementRejected("the record bears no mark of an objection: there is nothing to lift")
    return {**_next(statement, "UPHELD", version, stated_at), "disputed_since": None}


def _next(statement: Mapping[str, Any], reason: str, version: int | None, stated_at: datetime | None) -> Statement:
    missing = [name for name in _MANDATORY if name not in statement]
    if missing:
        raise StatementRejected(f"this is no statement: {', '.join(missing)} missing")
    old = statement["version"]
    now = stated_at or datetime.now(UTC)
    if now.tzinfo is None:
        raise StatementRejected("stated_at must be a time that knows its zone")
    if version is None:
        version = max(int(now.timestamp() * 1000), old + 1)
    if version <= old:
        raise StatementRejected(f"version {version} is not above {old}: a change must have a higher version")
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # the precision of the contract
    return {**statement, "version": version, "stated_at": now, "status": "IN_FORCE", "reason": reason}


def _without_content(
    statement: Mapping[str, Any], status: str, version: int | None, stated_at: datetime | None
) -> Statement:
    bare = {name: None for name in (*_BODIES, "disputed_since")}
    return {**_next(statement, status, version, stated_at), **bare, "status": status}


def _body_name(statement: Mapping[str, Any]) -> str:
    name = str(statement.get("kind", "")).lower()
    if name not in _BODIES:
        raise StatementRejected(f"there is no kind of record {statement.get('kind')!r}")
    return name


def _must_have_content(statement: Mapping[str, Any], what: str) -> None:
    if statement.get("status") != "IN_FORCE":
        raise StatementRejected(f"a record that is {statement.get('status')} cannot be {what}")
    if statement.get(_body_name(statement)) is None:
        raise StatementRejected(f"to be {what}, the record's content is needed: give the whole statement")


def _entry(statement: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    if statement.get("kind") != "LISTING":
        kind = _WORDS.get(str(statement.get("kind")), "this")
        raise StatementRejected(f"{kind} cannot be {what}: only list entries (严重失信主体名单) can")
    _must_have_content(statement, what)
    entry: Mapping[str, Any] = statement["listing"]
    return entry


def _must_be_day(what: str, day: object) -> None:
    if type(day) is not date:
        raise StatementRejected(f"{what} must be a date, not {type(day).__name__}")


def _one(what: str, given: str | None, known: tuple[str, ...] | list[str]) -> str:
    if given is not None:
        return given
    if len(known) != 1:
        raise StatementRejected(f"the department has {len(known)} of them, name the {what}: {', '.join(known)}")
    return known[0]


def _kind_of(uscc: str) -> str:
    # GB 32100-2015: the code begins with registrar 9, type 2.
    return "个体工商户" if uscc.startswith("92") else "法人及非法人组织"
