"""Reading cells: only what a file format garbles is mended; nothing is guessed."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from producers.importing.reading import Cell
from schemas.registration import FormerName, write_former_names

__all__ = ["CellRefused", "as_code", "as_date", "as_former_names", "as_money", "as_text", "as_time", "as_version"]

_CHINA = ZoneInfo("Asia/Shanghai")
_NO_TIME = "不是时间; 写作 2025-09-01 08:30:00"
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_MIDNIGHT = re.compile(r"[ T]0?0:00(?::00)?$")
_SLASHED = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})")
_PLAIN = re.compile(r"(\d{4})(\d{2})(\d{2})")
_CHINESE = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日?")
_TIME = re.compile(r"(.+?)[ T]\s*(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?\s*(Z|[+-]\d{2}:?\d{2})?")
_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_LONGEST_DAY = 40
_SEPARATORS = str.maketrans("；｜", ";|")
_MONEY = re.compile(r"-?\d+(\.\d+)?")


class CellRefused(ValueError):
    """A cell that cannot be read without guessing; `code` and the message say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def as_text(cell: Cell) -> str | None:
    """Return a cell's text without the white space round it; None where it is empty."""
    if cell is None:
        return None
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= 1e15:
            raise CellRefused("NUMBER_ROUNDED", "Excel 已将此长数字取为近似值; 请将该列设为文本后重新填写")
        return str(int(cell))  # Excel keeps every number as a float
    text = str(cell).strip().strip("\u3000")
    return text or None


def as_code(cell: Cell) -> str | None:
    """Return a code: full-width characters made half-width, capitals, no spaces."""
    text = as_text(cell)
    return "".join(unicodedata.normalize("NFKC", text).split()).upper() if text else None


def as_date(cell: Cell) -> date | None:
    """Return a date: 2025-09-01, 2025/9/1, 20250901, 2025年9月1日, or a date cell of Excel."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    text = as_text(cell)
    if text is None:
        return None
    text = "".join(_MIDNIGHT.sub("", unicodedata.normalize("NFKC", text)).split())
    for form in (_ISO, _SLASHED, _PLAIN, _CHINESE):
        found = form.fullmatch(text)
        if found:
            try:
                return date(*(int(part) for part in found.groups()))
            except ValueError:
                break
    raise CellRefused("DATE_FORM", "不是日期; 写作 2025-09-01、2025/9/1、20250901 或 2025年9月1日")


def as_former_names(cell: Cell) -> str | None:
    """Return former names as NAME|DAY;NAME|DAY; separators may be full-width, and days written as in any date cell."""
    text = as_text(cell)
    if text is None:
        return None
    names = []
    for part in text.translate(_SEPARATORS).strip(";").split(";"):
        name, bar, day = part.rpartition("|")
        last_day = as_date(day) if bar and len(day) <= _LONGEST_DAY else None
        if last_day is None:
            raise CellRefused("FORMER_NAMES", "曾用名称写作 名称|末日;名称|末日, 如 甲公司|2020-05-31")
        names.append(FormerName(name.strip(), last_day))
    try:
        return write_former_names(names)
    except ValueError as error:
        raise CellRefused("FORMER_NAMES", "曾用名称须写作 名称|末日;名称|末日, 日期递增, 名称不含 | 或 ;") from error


def as_money(cell: Cell) -> Decimal | None:
    """Return an amount in 万元 with at most 6 decimals. An amount with a unit, or in 元, is never converted."""
    if isinstance(cell, bool):
        raise CellRefused("MONEY_FORM", "不是金额")
    if isinstance(cell, float):
        cell = repr(cell)
    text = as_code(cell)
    if text is None:
        return None
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
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
    return round(amount, 6)  # written with forty decimals, it fits no column


def as_time(cell: Cell) -> datetime | None:
    """Return a time: 2025-09-01 08:30:00, 2025/9/1 8:30, 2025-09-01T00:30:00Z; one without a zone is China's."""
    if isinstance(cell, datetime):
        return _zoned(cell)
    if isinstance(cell, date):
        return _zoned(datetime(cell.year, cell.month, cell.day))
    text = as_text(cell)
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    try:
        day = as_date(found[1] if found else text)
        assert day is not None
        hour, minute, second, fraction, zone = found.groups()[1:] if found else ("0", "00", None, None, None)
        time = datetime.fromisoformat(f"{day}T{hour:>02}:{minute}:{second or '00'}{fraction or ''}{zone or ''}")
    except ValueError:
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    return _zoned(time)


def _zoned(time: datetime) -> datetime:
    zoned = time if time.tzinfo else time.replace(tzinfo=_CHINA)
    try:
        zoned.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1, or the last of 9999, are no time elsewhere
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    return zoned


def as_version(cell: Cell) -> int | None:
    """Return a version: a whole number."""
    text = as_code(cell)
    if text is None:
        return None
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise CellRefused("VERSION_FORM", "版本号不是整数")
    return int(text)
