"""Reading cells: what a file format garbles is mended, and each repair is named; nothing is guessed.

Every reader returns what a cell means and the codes (REPAIRS) of what was mended to see it. What can be read in two ways
is refused, and the message names both.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from producers.importing.reading import Cell
from schemas.registration import FormerName, write_former_names

__all__ = [
    "REPAIRS", "CellRefused", "Reading", "as_time", "read_categories", "read_code", "read_date", "read_document_number", "read_former_names",
    "read_identifier", "read_money", "read_record_id", "read_text", "read_time", "read_version", "read_word",
]  # fmt: skip

T = TypeVar("T")

REPAIRS = {
    "FULL_WIDTH": "全角字母、数字或符号读作半角",
    "SPACES": "去除多余的空格或不可见字符",
    "LOWER_CASE": "小写字母读作大写",
    "UPPER_CASE": "大写字母读作小写",
    "BRACKETS": "文号中年份的括号统一为〔〕",
    "DATE_FORM_READ": "日期由其他写法读出",
    "EXCEL_SERIAL": "Excel 日期序号读作日期",
    "TIME_DROPPED": "日期所带的时刻未采用",
    "CATEGORY_SEPARATOR": "处罚类别改以分号分隔",
    "THOUSANDS": "去除金额的千位分隔符",
    "NUMBER_AS_TEXT": "数字格读作文字",
    "MERGED_CELL": "合并单元格的值记入所覆盖的各行",
    "PARTIES_SPLIT": "一行多个当事人, 每个当事人一条记录",
}
"""Code of a repair → what it is."""

_CHINA = ZoneInfo("Asia/Shanghai")
_NO_TIME = "不是时间; 写作 2025-09-01 08:30:00"
_NO_DATE = "不是日期; 写作 2025-09-01、2025/9/1、20250901 或 2025年9月1日"

_ASCII = {0xFF01 + place: 0x21 + place for place in range(94)} | {0x3000: 0x20}
_LETTERS_AND_DIGITS = {wide: plain for wide, plain in _ASCII.items() if chr(plain).isalnum()}
"""Full-width characters and their half-width twins: never NFKC, which reads ² as 2 and ① as 1."""

_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_BLANK = re.compile("[\\s\u200b-\u200d\u2060\ufeff]+")
_BETWEEN_DIGITS = re.compile("(?<=[0-9])[\\s\u200c\u200d]+(?=[0-9])")

_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)
_STANDARD = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MIDNIGHT = re.compile(r"[ T]0?0:00(?::00)?$")
_SLASHED = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})", re.ASCII)
_PLAIN = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_CHINESE = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日?", re.ASCII)
_UNORDERED = re.compile(r"(\d{1,2}|\d{4})[/.-](\d{1,2})[/.-](\d{1,2}|\d{4})", re.ASCII)
_TIME = re.compile(r"(.+?)[ T]\s*(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?\s*(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_MONEY = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_YEAR_IN_BRACKETS = re.compile(r"[〔【\[(（［〈<]((?:19|20)\d\d)[〕】\])）］〉>]", re.ASCII)
_CATEGORIES = re.compile("[;；、,，\\s\u200b-\u200d\u2060\ufeff]+")

_LONGEST_DAY = 40
_SEPARATORS = str.maketrans("；｜", ";|")
_EPOCH = date(1899, 12, 30)
"""Day 0 of Excel's date system of 1900, as all days after 1900-02-28 count."""

_SERIALS = range((date(1990, 1, 1) - _EPOCH).days, (date(2101, 1, 1) - _EPOCH).days)
"""Plain numbers that are Excel's days. As 年月日 none of them can be read before the year 2032."""


class CellRefused(ValueError):
    """A cell that cannot be read without guessing; `code` and the message say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Reading(NamedTuple, Generic[T]):
    """What a cell means, None where it is empty, and the repairs that were needed to see it."""

    value: T | None
    repairs: tuple[str, ...] = ()


def read_text(cell: Cell) -> Reading[str]:
    """Read free text: without the white space round it and what is invisible in it. Its words stay as they are sent."""
    raw, repairs = _raw(cell)
    text = raw.strip()
    if not text.isprintable():
        text = _INVISIBLE.sub("", text).strip()
    return Reading(text or None, _with(repairs, "SPACES", text != raw and bool(text)))


def read_word(cell: Cell) -> Reading[str]:
    """Read a word that a table of codes holds: letters and digits half-width, no spaces."""
    return _identifier(cell)


def read_identifier(cell: Cell) -> Reading[str]:
    """Read the number of a list entry: letters and digits half-width, no spaces; its brackets stay as they are sent."""
    _no_date(cell)
    return _identifier(cell)


def read_document_number(cell: Cell) -> Reading[str]:
    """Read a document number (文号): as read_identifier does, and the year's brackets, of any kind, as 〔〕."""
    text, repairs = read_identifier(cell)
    if text is None:
        return Reading(None)
    mended = _YEAR_IN_BRACKETS.sub(r"〔\1〕", text)
    return Reading(mended, _with(repairs, "BRACKETS", mended != text))


def read_code(cell: Cell) -> Reading[str]:
    """Read a 统一社会信用代码: half-width, capitals, no spaces. Its check digits say whether that was right."""
    _no_date(cell)
    raw, repairs = _raw(cell)
    plain, repairs = _half_width(raw, repairs)
    text, repairs = _unspaced(plain, repairs)
    capitals = text.upper() if text.isascii() else text  # no other letter becomes two
    return Reading(capitals or None, _with(repairs, "LOWER_CASE", capitals != text) if capitals else ())


def read_record_id(cell: Cell) -> Reading[str]:
    """Read the id of a record: 32 small hexadecimal digits."""
    text, repairs = read_code(cell)
    small = text.lower() if text else None
    was_small = "LOWER_CASE" in repairs
    kept = tuple(code for code in repairs if code != "LOWER_CASE")
    return Reading(small, _with(kept, "UPPER_CASE", small != text and not was_small))


def read_categories(cell: Cell) -> Reading[str]:
    """Read the categories of a penalty: joined by ; 、 , or spaces; they keep their order. Which there are, a rule says."""
    raw, repairs = _raw(cell)
    parts = [part for part in _CATEGORIES.split(raw) if part]
    text = ";".join(parts)
    if not text:
        return Reading(None)
    unspaced = _BLANK.sub("", raw)
    spaces_only = unspaced == text
    repairs = _with(repairs, "SPACES", spaces_only and raw != text)
    return Reading(text, _with(repairs, "CATEGORY_SEPARATOR", not spaces_only))


def read_date(cell: Cell, *, from_1904: bool = False) -> Reading[date]:
    """Read a date: 2025-09-01, 2025/9/1, 20250901, 2025年9月1日, a date cell of Excel, or the number that it is for Excel.

    `from_1904` says that the workbook counts days from 1904: its numbers without a date's format are refused.
    """
    if isinstance(cell, datetime):
        return Reading(cell.date(), ("TIME_DROPPED",) if cell.timetz() != time() else ())
    if isinstance(cell, date):
        return Reading(cell)
    if isinstance(cell, float) and not cell.is_integer() and _whole_part(cell) in _SERIALS:
        return Reading(_day(int(cell), from_1904), ("EXCEL_SERIAL", "TIME_DROPPED"))
    plain, repairs = _half_width(str(_whole(cell)) if cell is not None else "", ())
    dated = _MIDNIGHT.sub("", plain.strip())
    text, repairs = _unspaced(dated, repairs, joining=False)
    if not text:
        return Reading(None)
    for form in (_ISO, _SLASHED, _PLAIN, _CHINESE):
        found = form.fullmatch(text)
        if found:
            try:
                day = date(*(int(part) for part in found.groups()))
            except ValueError:
                raise CellRefused("DATE_FORM", _NO_DATE) from None
            other = dated != plain.strip() or not _STANDARD.fullmatch(text)
            return Reading(day, _with(repairs, "DATE_FORM_READ", other))
    if len(text) == 5 and text.isascii() and text.isdecimal() and int(text) in _SERIALS:
        return Reading(_day(int(text), from_1904), (*repairs, "EXCEL_SERIAL"))
    raise _two_readings(text)


def read_former_names(cell: Cell, *, from_1904: bool = False) -> Reading[str]:
    """Read former names as NAME|DAY;NAME|DAY; separators may be full-width, and days written as in any date cell."""
    whole = read_text(cell)
    if whole.value is None:
        return whole
    names, repairs = list[FormerName](), list(whole.repairs)
    parts = whole.value.translate(_SEPARATORS)
    if parts != whole.value:
        repairs.append("FULL_WIDTH")
    for part in parts.strip(";").split(";"):
        name, bar, day = part.rpartition("|")
        last_day = read_date(day, from_1904=from_1904) if bar and len(day) <= _LONGEST_DAY else None
        if last_day is None or last_day.value is None:
            raise CellRefused("FORMER_NAMES", "曾用名称写作 名称|末日;名称|末日, 如 甲公司|2020-05-31")
        names.append(FormerName(name.strip(), last_day.value))
        repairs.extend(last_day.repairs)
    try:
        return Reading(write_former_names(names), tuple(dict.fromkeys(repairs)))
    except ValueError as error:
        raise CellRefused("FORMER_NAMES", "曾用名称须写作 名称|末日;名称|末日, 日期递增, 名称不含 | 或 ;") from error


def read_money(cell: Cell) -> Reading[Decimal]:
    """Read an amount in 万元 with at most 6 decimals. An amount with a unit, or in 元, is never converted."""
    if isinstance(cell, bool):
        raise CellRefused("MONEY_FORM", "不是金额")
    if isinstance(cell, float):
        cell = repr(cell)
    plain, repairs = _half_width("" if cell is None else str(cell), ())
    text, repairs = _unspaced(plain, repairs, joining=False)
    if not text:
        return Reading(None)
    if _GROUPED.fullmatch(text):
        text, repairs = text.replace(",", ""), (*repairs, "THOUSANDS")
    if not _MONEY.fullmatch(text):
        unit = "; 金额单位为万元, 不写单位, 2000元写作 0.2" if text.endswith(("元", "万")) else ""
        raise CellRefused("MONEY_FORM", f"不是金额{unit}")
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise CellRefused("MONEY_FORM", "不是金额") from error
    if abs(amount) >= Decimal(10) ** 12:
        raise CellRefused("DECIMAL_OVERFLOW", "金额超过12位整数 (万元)")
    if amount != round(amount, 6):
        raise CellRefused("MONEY_SCALE", "金额超过6位小数 (万元)")
    return Reading(round(amount, 6), repairs)  # written with forty decimals, it fits no column


def read_time(cell: Cell, *, from_1904: bool = False) -> Reading[datetime]:
    """Read a time: 2025-09-01 08:30:00, 2025/9/1 8:30, 2025-09-01T00:30:00Z; one without a zone is China's."""
    if isinstance(cell, datetime):
        return Reading(_zoned(cell))
    if isinstance(cell, date):
        return Reading(_zoned(datetime(cell.year, cell.month, cell.day)))
    if isinstance(cell, float) and _whole_part(cell) in _SERIALS:
        day = _day(int(cell), from_1904)
        since = timedelta(milliseconds=round(cell % 1 * 86_400_000))  # Excel's numbers are exact to a millisecond
        return Reading(_zoned(datetime(day.year, day.month, day.day) + since), ("EXCEL_SERIAL",))
    plain, repairs = _half_width("" if cell is None else str(_whole(cell)), ())
    text = _INVISIBLE.sub("", plain).strip()
    if not text:
        return Reading(None)
    repairs = _with(repairs, "SPACES", text != plain)
    found = _TIME.fullmatch(text)
    try:
        of_day = read_date(found[1] if found else text, from_1904=from_1904)
        hour, minute, second, fraction, zone = found.groups()[1:] if found else ("0", "00", None, None, None)
        moment = datetime.fromisoformat(
            f"{of_day.value}T{hour:>02}:{minute}:{second or '00'}{fraction or ''}{zone or ''}"
        )
    except CellRefused as refused:
        if refused.code in ("DATE_AMBIGUOUS", "EXCEL_EPOCH"):
            raise
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    except ValueError:
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    return Reading(_zoned(moment), tuple(dict.fromkeys((*repairs, *of_day.repairs))))


def as_time(cell: Cell) -> datetime | None:
    """Return a time as a person gives it on a command line: see read_time."""
    return read_time(cell).value


def read_version(cell: Cell) -> Reading[int]:
    """Read a version: a whole number."""
    plain, repairs = _half_width("" if cell is None else str(_whole(cell)), ())
    text, repairs = _unspaced(plain, repairs, joining=False)
    if not text:
        return Reading(None)
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 63:
        raise CellRefused("VERSION_FORM", "版本号不是整数")
    return Reading(int(text), repairs)


def _whole_part(number: float) -> int:
    """Return the whole part of a number; 0 where it has none."""
    return int(number) if abs(number) < 1e15 else 0  # neither nan nor infinity is less


def _whole(cell: Cell) -> Cell:
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= 1e15:
            raise CellRefused("NUMBER_ROUNDED", "Excel 已将此长数字取为近似值; 请将该列设为文本后重新填写")
        return int(cell)  # Excel keeps every number as a float
    return cell


def _raw(cell: Cell) -> tuple[str, tuple[str, ...]]:
    if cell is None:
        return "", ()
    whole = _whole(cell)
    return str(whole), ("NUMBER_AS_TEXT",) if isinstance(cell, float) else ()


def _no_date(cell: Cell) -> None:
    if isinstance(cell, date | time | timedelta):
        raise CellRefused("NUMBER_AS_DATE", "Excel 已将此编号变为日期或时间; 请将该列设为文本后重新填写")


def _identifier(cell: Cell) -> Reading[str]:
    raw, repairs = _raw(cell)
    plain = raw if raw.isascii() else raw.translate(_LETTERS_AND_DIGITS)
    text, repairs = _unspaced(plain, _with(repairs, "FULL_WIDTH", plain != raw))
    return Reading(text, repairs) if text else Reading(None)


def _half_width(text: str, repairs: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if text.isascii():
        return text, repairs
    spaced = text.replace("\u3000", " ")
    plain = spaced.translate(_ASCII)
    return plain, _with(_with(repairs, "FULL_WIDTH", plain != spaced), "SPACES", spaced != text)


def _unspaced(text: str, repairs: tuple[str, ...], *, joining: bool = True) -> tuple[str, tuple[str, ...]]:
    """Take the spaces out. Without `joining` those between two digits stay, so that no number is made of two."""
    if text.isascii() and " " not in text and text.isprintable():
        return text, repairs
    text, before = _INVISIBLE.sub("", text), text
    if joining or not _BETWEEN_DIGITS.search(text.strip()):
        text = _BLANK.sub("", text)
    return text, _with(repairs, "SPACES", text != before)


def _with(repairs: tuple[str, ...], code: str, applies: bool) -> tuple[str, ...]:
    return (*repairs, code) if applies and code not in repairs else repairs


def _day(serial: int, from_1904: bool) -> date:
    day = _EPOCH + timedelta(days=serial)
    if from_1904:
        other = day + timedelta(days=1462)
        raise CellRefused(
            "EXCEL_EPOCH", f"此工作簿的日期从1904年起算: {serial} 可读作 {other} 或 {day}; 请将该列设为日期格式"
        )
    return day


def _two_readings(text: str) -> CellRefused:
    found = _UNORDERED.fullmatch(text)
    readings = sorted(_readings(found.groups())) if found else []
    if len(readings) > 1:
        return CellRefused("DATE_AMBIGUOUS", f"可读作 {' 或 '.join(readings)}; 请写明是哪一天")
    return CellRefused("DATE_FORM", _NO_DATE + (f"; 是 {readings[0]} 吗" if readings else ""))


def _readings(parts: tuple[str, ...]) -> set[str]:
    """Return the days, in ISO form, that three numbers may mean: year, month and day in any order that people use."""
    days = set()
    for year, month, day in ((0, 1, 2), (2, 0, 1), (2, 1, 0)):
        said = parts[year] if len(parts[year]) == 4 else f"20{parts[year]:>02}"
        if len(parts[month]) > 2 or len(parts[day]) > 2:
            continue
        try:
            days.add(date(int(said), int(parts[month]), int(parts[day])).isoformat())
        except ValueError:
            continue
    return days


def _zoned(moment: datetime) -> datetime:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=_CHINA)
    try:
        zoned.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1, or the last of 9999, are no time elsewhere
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    return zoned
