"""The field of a header: CF_ codes or Chinese names, as departments have written them for years (headers.csv)."""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

from producers.files.headers.states import DecidingColumn, speaks_of_state
from schemas.contracts.flat_frame import FLAT
from schemas.errors import UsageError
from schemas.texts.visible import UNSEEN

__all__ = [
    "ENVELOPE_FIELDS", "KIND_NAMES", "MOVES", "Columns", "field_of", "fitting", "known_headers", "known_in", "knows_any", "mandatory_of",
    "must_be_said", "must_stand_here", "resolve", "same_column", "unnamed",
]  # fmt: skip

_NEVER_READ = "-"
"""Marks identity-document numbers: they have no field, on purpose."""

ENVELOPE_FIELDS = (
    "domain", "status", "reason", "version", "updated_at", "original_record_id", "original_number", "original_uscc",
)  # fmt: skip
"""Fields of the statement's envelope, not of its content."""

_MANDATORY = {
    "PENALTY": (
        "uscc", "subject_name", "penalty_document_number", "penalty_violation_type", "penalty_facts", "penalty_basis",
        "penalty_categories", "penalty_content", "penalty_decided_on", "penalty_valid_until", "penalty_authority_name",
        "authority", "penalty_source_unit", "penalty_source_unit_code",
    ),
    "LISTING": (
        "uscc", "subject_name", "listing_entry_id", "listing_grounds", "listing_basis", "listing_authority_name",
        "authority", "listing_listed_on",
    ),
    "REGISTRATION": (
        "uscc", "subject_name", "registration_entity_kind", "registration_since", "registration_authority_name", "authority",
    ),
}  # fmt: skip

MOVES = {"registration_since": "registration_moved_in", "registration_until": "registration_moved_out"}
"""Of a registration: 成立日期 may be 迁入日期 and 注销日期 may be 迁出日期; a registry keeps them in separate columns."""

KIND_NAMES = {"PENALTY": "行政处罚", "LISTING": "严重失信主体名单", "REGISTRATION": "经营主体登记"}


@dataclass(frozen=True, slots=True)
class Columns:
    """How a file is read: its kind (PENALTY, LISTING or REGISTRATION), field → header, and unread columns, with why."""

    kind: str
    headers: dict[str, str]
    personal: tuple[str, ...]
    unknown: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    """Unknown columns that the publisher of the file has declared irrelevant."""
    read_as: tuple[tuple[str, str], ...] = ()
    """Headers with a spelling of their own, and the known header that each is read as."""


@cache
def _known() -> dict[tuple[str, str], str]:
    with Path(__file__).with_name("headers.csv").open(encoding="utf-8", newline="") as file:
        return {(row["kind"], row["header"].upper()): row["field"] for row in csv.DictReader(file)}


_NOT_SEEN = re.compile(rf"[\s{UNSEEN}]+")
_MONEY = ("penalty_fine", "penalty_confiscated")
_UNIT = re.compile(
    r"^(?P<name>.+?)[(\[【_:/,;—–-]*(?:计量)?(?:单位(?:为|是)?[:：]?)?(?:以|按)?(?:人民币[:：,、]?)?"
    r"(?P<unit>(?:亿|千万|百万|十万|万|萬|千|百)?(?:元|圆|角|美元|港元|港币|欧元|日元|USD|CNY|RMB|HKD|EUR)|(?<=[(\[【])[分Ww])"
    r"(?:为?计|为?单位|整)?(?:[,;，；、](?![^()\[\]【】]*元)[^()\[\]【】]*)?[)\]】]*$"
)
_TEN_THOUSAND_YUAN = ("万元", "萬元", "万圆")
_SPEAKS_OF_MONEY = re.compile(r"罚款|罚金|罚没|没收|处罚金额|NR_FK|WFFF")
_NO_AMOUNT = re.compile(r"日期|时间|期限|依据|票据|编号|单号|账号|帐号|银行|方式|情况|原因|事由|内容|是否|物品|清单")
_AMOUNT = re.compile(r"\s*[¥￥]?\s*\d[\d,，.]*\s*(?:[万千百亿]?元?整?)\s*")
_NEEDED = "必填项?|选填项?|非必填项?|必录项?|必输项?|必须填写|必须|可空|非空|不可为空|可不填"
_NOTE = re.compile(
    rf"^(?:[*★☆※●#]+|[(\[【]?(?:{_NEEDED})[)\]】]?[:*]?|第?(?:字段|[列项栏])?\d{{1,2}}[列项栏]?[:.、]|(?:字段|[列项栏])\d{{1,2}}|[A-Z][.、]|[(]?[一二三四五六七八九十]{{1,3}}[)]?[、.]|[(\[]?\d{{1,2}}[)\].、:_-]*(?=\D))"
    rf"|(?:[*★☆※●:;]+|[(\[【<]?(?:{_NEEDED})[)\]】>]?"
    r"|[(\[【](?:格式|如|例|示例|注|说明|文本|文字|日期|数字|字符|YYYY|精确|保留)[^()\[\]【】]*[)\]】]"
    r"|[(\[【](?:全称|单选|可?多选|可多项|逐项填写|年[/.-]?月[/.-]?日|(?:不超过|不多于|限|最多|≤|<=)?\d{1,4}(?:个?字|位|个?字符)(?:以内|内)?)[)\]】])$"
)
"""Notes in forms beside the name of a column: that it is mandatory, its number, how to fill it in."""

_LONGEST, _WIDEST = 400, 1_000
"""Longest header looked up, and most headers looked up in a row: no file may take hours."""

_TWO_NAMES = re.compile(r"(.+?)[(\[【/](.+?)[)\]】]?")
_CODE = re.compile(r"(?<![A-Z0-9_])[A-Z][A-Z0-9_]+(?![A-Z0-9_])")


def _normal(header: str) -> str:
    half_width = unicodedata.normalize("NFKC", header)  # only for the lookup: nothing of it is published
    return _NOT_SEEN.sub("", half_width).upper()


def _bare(name: str) -> str:
    """Return a header without the notes of a form; a unit is never a note."""
    while (found := _NOTE.search(name)) and "元" not in found[0] and len(found[0]) < len(name):
        name = name[: found.start()] + name[found.end() :]
    return name


def _folded(name: str) -> str:
    return "".join(one for one in name if one.isalnum())


@cache
def _folded_names() -> dict[tuple[str, str], str]:
    return {(kind, _folded(_normal(header))): field for (kind, header), field in _known().items()}


def _in_another_unit(kind: str, header: str) -> bool:
    """Return whether a header names an amount in another unit than 万元: 罚款金额(元)."""
    name = _normal(header)
    for one in (name, _without_code(name)):  # CF_NR_FK(元) has only its code for a name
        found = _UNIT.match(_bare(one))
        if found is None or found["unit"] in _TEN_THOUSAND_YUAN:
            continue
        if _field(kind, found["name"]) in _MONEY or _SPEAKS_OF_MONEY.search(found["name"]):
            return True
    return False


def _as_ever(kind: str, header: str) -> str | None:
    """Return the field of a header spelled as in headers.csv, in any width."""
    known, name = _known(), _normal(header)
    found = known.get((kind, name)) or known.get(("ANY", name))
    unit = _UNIT.match(name) if found is None else None
    if unit and unit["unit"] in _TEN_THOUSAND_YUAN and known.get((kind, unit["name"])) in _MONEY:
        return known[kind, unit["name"]]
    if found is None and (header in FLAT or header in ENVELOPE_FIELDS) and header != "row":
        prefix = header.partition("_")[0]
        return header if prefix.upper() == kind or prefix.upper() not in _MANDATORY else None
    return found


@lru_cache(maxsize=4096)
def _field(kind: str, header: str) -> str | None:
    """Return the field of a header: as spelled, without a form's notes, or by name and code together."""
    found = _as_ever(kind, header) if len(header) <= _LONGEST else None
    if found is None and len(header) <= _LONGEST:
        bare = _bare(_normal(header))
        found = _as_ever(kind, bare) or _by_folded(kind, bare) or _by_code(kind, bare)
    return found


def _by_folded(kind: str, name: str) -> str | None:
    names, plain = _folded_names(), _folded(name)
    return names.get((kind, plain)) or names.get(("ANY", plain))


def _without_code(name: str) -> str:
    return re.sub(r"\(\)|\[\]|【】", "", _CODE.sub("", name)) or name


def _by_code(kind: str, name: str) -> str | None:
    """Return the field of a header with a code beside its name, 行政相对人名称(CF_XDR_MC), if the two agree."""
    half = name[: len(name) // 2]
    if half + half == name:
        return _by_folded(kind, half)
    twice = _TWO_NAMES.fullmatch(name)
    if twice and (field := _by_folded(kind, twice[1])) and field == _by_folded(kind, twice[2]):
        return field
    codes = _CODE.findall(name)
    field = _by_folded(kind, codes[0]) if len(codes) == 1 else None
    rest = _bare(_without_code(name)) if field else ""
    if field is None or not _folded(rest):
        return field
    named = _field(kind, rest)
    if named is None and ("元" in rest or speaks_of_state(rest)):
        return None
    return field if named in (None, field) else None


def resolve(
    headers: Sequence[str], *, mapped: Mapping[str, str] = MappingProxyType({}), ignored: Collection[str] = ()
) -> Columns:
    """Return the fields of the headers, and the kind of record that fits best: penalty, list entry or registration.

    `mapped` gives the meaning of headers (header → a known one), `ignored` the irrelevant unknown ones. Raises
    UsageError if two headers have the same field, an amount is in another unit than 万元, mandatory columns are missing
    (all are named), or an unknown column may give the state of its row.
    """
    meant = [mapped.get(header, header) for header in headers]
    kind = _kind_of(meant)
    fields: dict[str, str] = {}
    personal, unknown, waived, read_as = [], [], [], []
    for place, (header, name) in enumerate(zip(headers, meant, strict=True), 1):
        field = _field(kind, name)
        if header in mapped and field is None:
            raise UsageError(f"--map {header}={name}: 没有叫 {name} 的列 ({KIND_NAMES[kind]})")
        if header in ignored or (not header and unnamed(place) in ignored):
            _may_be_ignored(header, field)
            waived.append(header)
        elif field is None:
            unknown.append(header)
        elif field == _NEVER_READ:
            personal.append(header)
        elif field in fields:
            raise UsageError(f"{fields[field]!r} 与 {header!r} 两列含义相同; 请保留一列, 或用 --ignore 略去一列")
        else:
            fields[field] = header
            if header in mapped or _as_ever(kind, header) is None:
                read_as.append((header, _shown(kind, field)))
    converted = [header for header in (*unknown, *(mapped.keys() & headers)) if _in_another_unit(kind, header)]
    if converted:
        raise UsageError(
            f"金额以万元为单位, 不作换算: {', '.join(converted)}; 请将该列换算 (2000元写作 0.2), 列名写作 罚款金额(万元)"
            " 或与表式相同"
        )
    _no_amount_unread(kind, fields, unknown)
    deciding = [found for header in unknown if (found := speaks_of_state(header))]
    missing = [field for field in _MANDATORY[kind] if field not in fields and MOVES.get(field) not in fields]
    if missing:
        names = "、".join(_shown(kind, field, among=headers) for field in missing)
        also = f"; {must_be_said(deciding)}" if deciding else ""
        meant_by = _suggested(kind, missing, unknown)
        raise UsageError(
            f"缺少列 (按{KIND_NAMES[kind]}读取): {names}; 文件中有: {', '.join(headers[:12])}{also}{meant_by}"
        )
    if deciding:
        raise UsageError(must_be_said(deciding))
    return Columns(kind, fields, tuple(personal), tuple(unknown), tuple(waived), tuple(read_as))


def _no_amount_unread(kind: str, fields: Mapping[str, str], unknown: Sequence[str]) -> None:
    """Raise UsageError if an unknown column may be the amount that no known column gives: 罚没金额, 罚款总额."""
    if kind != "PENALTY":
        return
    for header in unknown:
        name = _normal(header)
        if not _SPEAKS_OF_MONEY.search(name) or _NO_AMOUNT.search(name):
            continue
        field = _MONEY[1] if "没收" in name or "WFFF" in name else _MONEY[0]
        if field not in fields:
            known = _shown(kind, field, among=(header,))
            raise UsageError(
                f"有不认识的列可能是金额: {header}; 如是, 且以万元为单位, 用 --map {header}={known} 说明; 如不是, 用 --ignore {header}"
            )


def _suggested(kind: str, missing: Sequence[str], unknown: Sequence[str]) -> str:
    """Return which unknown columns may be missing ones: 社会信用代码 may be 统一社会信用代码."""
    pairs = []
    for field in missing:
        names = [name for (of, name), meant in _known().items() if of in (kind, "ANY") and meant == field]
        for header in unknown:
            plain = _folded(_normal(header[:_LONGEST]))
            near = [name for name in names if (bare := _folded(_normal(name))) and _alike(plain, bare)]
            if near:
                pairs.append(f"--map {header}={near[0]}")
                break
    return f"; 如有所指, 可说明: {' '.join(pairs[:5])}" if pairs else ""


def _alike(header: str, name: str) -> bool:
    if len(header) < 3 or len(name) < 3:
        return False
    return header in name or name in header or difflib.SequenceMatcher(None, header, name).ratio() >= 0.75


def fitting(headers: Sequence[str]) -> str | None:
    """Return the kind of records for a row of headers: the one with half of its mandatory columns present."""
    for kind, mandatory in _MANDATORY.items():
        fields = {_field(kind, header) for header in headers if header} - {None}
        if sum(field in fields or MOVES.get(field) in fields for field in mandatory) * 2 >= len(mandatory):
            return kind
    return None


def knows_any(headers: Sequence[str]) -> bool:
    """Return whether any of the headers is known."""
    return any(_field(kind, header) is not None for header in headers for kind in _MANDATORY)


def field_of(kind: str, header: str) -> str | None:
    """Return the field of a header in a file of this kind."""
    return _field(kind, header)


def mandatory_of(kind: str) -> tuple[str, ...]:
    """Return the fields that every row in force must have."""
    return _MANDATORY[kind]


_BETWEEN_HEADERS = re.compile('[,;\t|，；\r\n":{}]+')


def known_headers(text: str) -> int:
    """Return the number of known headers in a text, in any format."""
    parts = {part.strip() for part in _BETWEEN_HEADERS.split(text)}
    return sum(any(_field(kind, part) for kind in _MANDATORY) for part in parts if part)


def known_in(names: Sequence[str]) -> int:
    """Return how many columns of one kind these names mean: none or few if the row is no header."""
    return max(len({_field(kind, name) for name in names[:_WIDEST] if name} - {None}) for kind in _MANDATORY)


def same_column(names: Sequence[str], one: str, other: str) -> bool:
    """Return whether two headers mean one column of the file with the headers `names`; an unknown one may."""
    kind = _kind_of(names)
    fields = {_field(kind, one), _field(kind, other)} - {None}
    return len(fields) < 2


def must_be_said(deciding: Sequence[DecidingColumn]) -> str:
    """Return the message on unknown columns that may decide the meaning of a row."""
    first = deciding[0]
    names = ", ".join(f"{found.header} ({found.word})" for found in deciding)
    return (
        f"有不认识的列可能决定一行的含义: {names}; 请说明它是哪一列 --map {first.header}={first.meant or '状态'},"
        f" 或说明它不决定什么 --ignore {first.header}"
    )


def unnamed(place: int) -> str:
    """Return the name for a column without a header; `place` counts from 1."""
    return f"第{place}列"


def _kind_of(names: Sequence[str]) -> str:
    fitting = {kind: sum(_field(kind, header) is not None for header in names) for kind in _MANDATORY}
    return max(fitting, key=lambda name: fitting[name])


def must_stand_here(headers: Sequence[str], named: Collection[str]) -> None:
    """Raise UsageError if --map or --ignore name a column that the file does not have: it was mistyped."""
    here = {*headers, *(unnamed(place) for place in range(1, len(headers) + 1))}
    absent = [name for name in named if name not in here and not _OF_A_ROW.fullmatch(name)]
    if absent:
        raise UsageError(f"--map 或 --ignore 所说的列文件中没有: {', '.join(absent)}")


_OF_A_ROW = re.compile(r"第\d+行")
_DECIDING = frozenset((
    "status", "reason", "disputed_since", "listing_removed_on", "listing_removal_reason", "registration_until",
    "registration_moved_out",
))  # fmt: skip


def _may_be_ignored(header: str, field: str | None) -> None:
    if field in _DECIDING:
        raise UsageError(f"--ignore {header}: 此列决定一行的含义, 不能略去")


def _shown(kind: str, field: str, among: Sequence[str] = ()) -> str:
    """Return the name of a field; in Chinese if most names of the file are."""
    names = [header for (of, header), name in _known().items() if of in (kind, "ANY") and name == field]
    chinese = sum(not name.isascii() for name in among) * 2 > len(among)
    return next((name for name in names if not chinese or not name.isascii()), field)
