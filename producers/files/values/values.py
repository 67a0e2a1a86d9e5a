"""Readers of cells: they mend the damage of file formats, name each repair, and guess nothing.

Every reader returns the cell's value and the codes (REPAIRS) of the repairs. A cell with two readings is refused, and
the message names both.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from decimal import Context, Decimal, InvalidOperation

from producers.files.table import Cell
from producers.files.values.dates import as_time, read_date, read_time
from producers.files.values.placeholders import is_placeholder
from producers.files.values.texts import (
    BLANK,
    LETTERS_AND_DIGITS,
    REPAIRS,
    TURNING,
    CellReading,
    CellRefused,
    also,
    half_width,
    raw_text,
    seen,
    unspaced,
    written,
)  # fmt: skip
from schemas.records.identity import bracketed_year
from schemas.records.registration import FormerName, write_former_names

__all__ = [
    "REPAIRS",
    "CellReading",
    "CellRefused",
    "as_time",
    "read_categories",
    "read_code",
    "read_date",
    "read_document_number",
    "read_former_names",
    "read_identifier",
    "read_money",
    "read_record_id",
    "read_text",
    "read_time",
    "read_version",
    "read_word",
]  # fmt: skip

_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_MONEY = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_TEN_THOUSAND = re.compile(r"(?:人民币)?(.+?)(?:万元|万|\(万元\))(?:人民币)?")
_CATEGORIES = re.compile("[;；、,，\\s\u200c\u200d]+")
_YEARS = re.compile(r"(?:19|20)\d\d", re.ASCII)
_SEVERAL = re.compile(r"号[^号]*[;；、,，/和及][^号]*号")
_LONGEST_DAY = 40
_SEPARATORS = str.maketrans("；｜", ";|")


def read_text(cell: Cell) -> CellReading[str]:
    """Read free text: without surrounding white space and invisible characters. Its words stay as they are sent."""
    raw, repairs = raw_text(cell)
    text = raw.strip()
    if not text.isprintable():
        text = seen(text).strip()
    return CellReading(text or None, also(repairs, "SPACES", text != raw)) if text else CellReading(None)


def read_word(cell: Cell) -> CellReading[str]:
    """Read a word of a table of codes: letters and digits half-width, no spaces."""
    return _identifier(cell)


def read_identifier(cell: Cell) -> CellReading[str]:
    """Read the number of a list entry: letters and digits half-width, no spaces; its brackets stay as they are sent."""
    _no_date(cell)
    found = _identifier(cell)
    if found.value is not None and is_placeholder(found.value):
        raise CellRefused("NO_IDENTITY", "只是占位文字, 不是编号; 请写明编号, 否则无法确定是哪条记录")
    return found


def read_document_number(cell: Cell) -> CellReading[str]:
    """Read a document number (文号): as read_identifier does, and the year's brackets, of any kind, as 〔〕."""
    text, repairs = read_identifier(cell)
    if text is None:
        return CellReading(None)
    if len(_YEARS.findall(text)) > 1 and _SEVERAL.search(text):
        raise CellRefused("NO_IDENTITY", "此格有几个文号; 一行是一个决定, 请每个决定一行")
    mended = bracketed_year().sub(r"〔\1〕", text)
    return CellReading(mended, also(repairs, "BRACKETS", mended != text))


def read_code(cell: Cell) -> CellReading[str]:
    """Read a 统一社会信用代码: half-width, capitals, no spaces. Its check digits show whether that was right."""
    _no_date(cell)
    raw, repairs = raw_text(cell)
    plain, repairs = half_width(raw, repairs)
    forward = plain if plain.isascii() else TURNING.sub("", plain)  # its check digits show that it was not turned round
    text, repairs = unspaced(forward, also(repairs, "SPACES", forward != plain))
    capitals = text.upper() if text.isascii() else text  # no other letter becomes two
    return CellReading(capitals or None, also(repairs, "LOWER_CASE", capitals != text) if capitals else ())


def read_record_id(cell: Cell) -> CellReading[str]:
    """Read the id of a record: 32 small hexadecimal digits."""
    text, repairs = read_code(cell)
    small = text.lower() if text else None
    was_small = "LOWER_CASE" in repairs
    kept = tuple(code for code in repairs if code != "LOWER_CASE")
    return CellReading(small, also(kept, "UPPER_CASE", small != text and not was_small))


def read_categories(cell: Cell) -> CellReading[str]:
    """Read the categories of a penalty: joined by ; 、 , or spaces; they keep their order. A rule checks the words."""
    raw, repairs = raw_text(cell)
    shown = raw if raw.isprintable() else seen(raw)
    parts = [part for part in _CATEGORIES.split(shown) if part]
    text = ";".join(parts)
    if not text:
        return CellReading(None)
    unspaced = BLANK.sub("", shown)
    spaces_only = unspaced == text
    repairs = also(repairs, "SPACES", spaces_only and raw != text)
    return CellReading(text, also(repairs, "CATEGORY_SEPARATOR", not spaces_only))


def read_former_names(cell: Cell, *, from_1904: bool = False) -> CellReading[str]:
    """Read former names as NAME|DAY;NAME|DAY; separators may be full-width, and days as in any date cell."""
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
        return CellReading(write_former_names(names), tuple(dict.fromkeys(repairs)))
    except ValueError as error:
        raise CellRefused("FORMER_NAMES", "曾用名称须写作 名称|末日;名称|末日, 日期递增, 名称不含 | 或 ;") from error


def read_money(cell: Cell) -> CellReading[Decimal]:
    """Read an amount in 万元 with at most 6 decimals. An amount with a unit, or in 元, is never converted."""
    if isinstance(cell, bool):
        raise CellRefused("MONEY_FORM", "不是金额")
    if isinstance(cell, float | Decimal):
        cell = _digits(cell)
    plain, repairs = written(cell)
    text, repairs = unspaced(plain, repairs, joining=False)
    if not text:
        return CellReading(None)
    unit = _TEN_THOUSAND.fullmatch(text)
    if unit and _MONEY.fullmatch(unit[1].replace(",", "")):
        text, repairs = unit[1], (*repairs, "UNIT_WRITTEN")
    if _GROUPED.fullmatch(text):
        text, repairs = text.replace(",", ""), (*repairs, "THOUSANDS")
    if not _MONEY.fullmatch(text):
        raise CellRefused("MONEY_FORM", f"不是金额{_why_no_money(text)}")
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise CellRefused("MONEY_FORM", "不是金额") from error
    if abs(amount) >= Decimal(10) ** 12:
        raise CellRefused("DECIMAL_OVERFLOW", "金额超过12位整数 (万元)")
    if amount != round(amount, 6):
        # Numbers of a workbook have 15 digits; the rest is binary dust of sums such as 0.1 + 0.2.
        amount, repairs = Context(prec=15).plus(amount), (*repairs, "FLOAT_DUST")
    if amount != round(amount, 6):
        raise CellRefused("MONEY_SCALE", "金额超过6位小数 (万元)")
    return CellReading(round(amount, 6), repairs)  # an amount written with forty decimals fits no column


def _why_no_money(text: str) -> str:
    if is_placeholder(text):
        return "; 没有金额则留空"
    if "%" in text or "‰" in text:
        return "; 金额不写百分比"
    if re.search(r"[元万亿千百整圆wW$¥]|USD|CNY|RMB", text):
        return "; 金额单位为万元, 不写单位和货币符号, 2000元写作 0.2"
    return "; 一格一个金额, 只写数字, 如 0.2" if re.search(r"[\d零一二三四五六七八九十]", text) else ""


def read_version(cell: Cell) -> CellReading[int]:
    """Read a version: a whole number."""
    plain, repairs = written(cell)
    text, repairs = unspaced(plain, repairs, joining=False)
    if not text:
        return CellReading(None)
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 63:
        raise CellRefused("VERSION_FORM", "版本号不是整数")
    return CellReading(int(text), repairs)


def _digits(number: float | Decimal) -> str:
    """Return a number with all its digits, never with an exponent."""
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    return f"{exact:f}" if exact.is_finite() and abs(exact.adjusted()) < 400 else str(number)


def _no_date(cell: Cell) -> None:
    if isinstance(cell, date | time | timedelta):
        raise CellRefused("NUMBER_AS_DATE", "Excel 已将此编号变为日期或时间; 请将该列设为文本后重新填写")


def _identifier(cell: Cell) -> CellReading[str]:
    raw, repairs = raw_text(cell)
    plain = raw if raw.isascii() else raw.translate(LETTERS_AND_DIGITS)
    text, repairs = unspaced(plain, also(repairs, "FULL_WIDTH", plain != raw))
    return CellReading(text, repairs) if text else CellReading(None)
