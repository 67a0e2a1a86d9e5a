"""Dates and times as people and databases write them: the readers guess nothing and name each repair."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from producers.files.table import Cell
from producers.files.values.placeholders import is_placeholder
from producers.files.values.texts import CellReading, CellRefused, also, seen, unspaced, written
from schemas.calendar.clock import CHINA

__all__ = ["as_time", "read_date", "read_time"]

_NO_TIME = "不是时间; 写作 2025-09-01 08:30:00"
_NO_DATE = "不是日期; 写作 2025-09-01、2025/9/1、20250901 或 2025年9月1日"
_STANDARD = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SEPARATED = re.compile(r"(\d{4})[-/.、‐‑‒–—―−](\d{1,2})[-/.、‐‑‒–—―−](\d{1,2})", re.ASCII)
_PLAIN = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_NUMERALS = "〇○零一二三四五六七八九十廿卅"
_CHINESE = re.compile(
    rf"(\d{{4}}|[{_NUMERALS[:12]}Oo]{{4}})年(\d{{1,2}}|[{_NUMERALS}]{{1,3}})月(\d{{1,2}}|[{_NUMERALS}]{{1,3}})[日号]?",
    re.ASCII,
)
_DIGITS = str.maketrans("〇○零Oo一二三四五六七八九", "00000123456789")
_ENDLESS = frozenset(("终身", "长期", "永久", "长期有效", "永久有效", "无期限", "无固定期限"))
_LATEST_YEAR = 2999
_UNORDERED = re.compile(r"(\d{1,2}|\d{4})[/.-](\d{1,2})[/.-](\d{1,2}|\d{4})", re.ASCII)
_TIME = re.compile(
    r"(.+?)(?:[ T]\s*|(?<=[日号]))(上午|下午)?\s*(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(?:(\.\d{1,6})\d{0,3})?秒?|分)?"
    r"\s*([AaPp][Mm])?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_JOINED_TIME = re.compile(r"(\d{8})(\d{2})(\d{2})(\d{2})?", re.ASCII)
_STAMP = re.compile(r"[1-3]\d{9}(?:\d{3})?", re.ASCII)
_EPOCH = date(1899, 12, 30)
"""Day 0 of Excel's date system of 1900, in which all days after 1900-02-28 count."""
_SERIALS = range((date(1990, 1, 1) - _EPOCH).days, (date(2101, 1, 1) - _EPOCH).days)
"""Plain numbers that are Excel's days. As 年月日 none of them can be read before the year 2032."""


def read_date(cell: Cell, *, from_1904: bool = False) -> CellReading[date]:
    """Read a date: 2025-09-01, 2025/9/1, 20250901, 2025年9月1日, a date cell of Excel, or Excel's number of it.

    `from_1904`: the workbook counts days from 1904, and its numbers without a date format are refused.
    """
    if isinstance(cell, date):
        moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
        return CellReading(moment.date(), ("TIME_DROPPED",) if moment.timetz() != time() else ())
    if isinstance(cell, float) and not cell.is_integer() and _whole_part(cell) in _SERIALS:
        return CellReading(_day(int(cell), from_1904), ("EXCEL_SERIAL", "TIME_DROPPED"))
    plain, repairs = written(cell)
    whole = seen(plain).strip()
    timed = _TIME.fullmatch(whole) or _JOINED_TIME.fullmatch(whole)
    if timed:
        return _day_of(timed, repairs, from_1904)
    text, repairs = unspaced(plain.strip(), also(repairs, "SPACES", whole != plain), joining=False)
    if not text:
        return CellReading(None)
    for form in (_SEPARATED, _PLAIN, _CHINESE):
        found = form.fullmatch(text)
        if found:
            day = _calendar_day(*found.groups())
            return CellReading(day, also(repairs, "DATE_FORM_READ", not _STANDARD.fullmatch(text)))
    if len(text) == 5 and text.isascii() and text.isdecimal() and int(text) in _SERIALS:
        return CellReading(_day(int(text), from_1904), (*repairs, "EXCEL_SERIAL"))
    raise _two_readings(text)


def _calendar_day(year: str, month: str, day: str) -> date:
    try:
        found = date(int(year.translate(_DIGITS)), _number(month), _number(day))
    except ValueError:
        raise CellRefused("DATE_FORM", f"{_NO_DATE}; 没有这一天") from None
    if found.year > _LATEST_YEAR:
        raise CellRefused("DATE_RANGE", f"日期晚于{_LATEST_YEAR}年; 长期有效写作 2099-12-31")
    return found


def _number(written: str) -> int:
    """Return a number below 100, in digits or as 二十一. Raises ValueError if it is none."""
    if written.isdecimal():
        return int(written)
    tens, ten, units = written.replace("廿", "二十").replace("卅", "三十").partition("十")
    if not ten and (len(written) > 2 or (len(written) == 2 and written[0] not in "〇○零")):
        raise ValueError(written)
    number = f"{tens or 1}{units or 0}" if ten else tens
    return int(number.translate(_DIGITS)) if not ten or len(number) == 2 else int("")


def _day_of(timed: re.Match[str], repairs: tuple[str, ...], from_1904: bool) -> CellReading[date]:
    """Return the day of a date with a time: midnight is ignored, dropping another time is a repair."""
    of_day = read_date(timed[1], from_1904=from_1904)
    if of_day.value is None:
        raise CellRefused("DATE_FORM", _NO_DATE)
    try:
        moment = _moment(of_day.value, timed)
    except ValueError:
        raise CellRefused("DATE_FORM", _NO_DATE) from None
    if moment.utcoffset() not in (None, timedelta(hours=8)):
        day = _zoned(moment).astimezone(CHINA).date()
        raise CellRefused("DATE_FORM", f"所写不是中国时间的日期; 此刻在中国是 {day}, 请写明是哪一天")
    code = "DATE_FORM_READ" if moment.time() == time() else "TIME_DROPPED"
    return CellReading(of_day.value, tuple(dict.fromkeys((*repairs, *of_day.repairs, code))))


def _moment(day: date, timed: re.Match[str]) -> datetime:
    """Return the time of a match of _TIME or _JOINED_TIME. Raises ValueError if there is no such time."""
    if timed.re is _JOINED_TIME:
        _, hour, minute, second = timed.groups()
        return datetime.fromisoformat(f"{day}T{hour}:{minute}:{second or '00'}")
    _, half, hour, minute, second, fraction, english, zone = timed.groups()
    half = {"AM": "上午", "PM": "下午"}.get(english.upper()) if english else half
    if half and (int(hour) > 12 or not int(hour)) and not (half == "下午" and int(hour) < 24):
        raise ValueError(hour)
    if half:
        hour = str(int(hour) % 12 + 12 * (half == "下午"))
    return datetime.fromisoformat(f"{day}T{hour:>02}:{minute:>02}:{second or '00':>02}{fraction or ''}{zone or ''}")


def read_time(cell: Cell, *, from_1904: bool = False) -> CellReading[datetime]:
    """Read a time: 2025-09-01 08:30:00, 2025/9/1 8:30, 2025-09-01T00:30:00Z; one without a zone is China's."""
    if isinstance(cell, datetime):
        return CellReading(_zoned(cell))
    if isinstance(cell, date):
        return CellReading(_zoned(datetime(cell.year, cell.month, cell.day)))
    if isinstance(cell, float) and _whole_part(cell) in _SERIALS:
        day = _day(int(cell), from_1904)
        since = timedelta(milliseconds=round(cell % 1 * 86_400_000))  # Excel's numbers are exact to a millisecond
        return CellReading(_zoned(datetime(day.year, day.month, day.day) + since), ("EXCEL_SERIAL",))
    plain, repairs = written(cell)
    text = seen(plain).strip()
    if not text:
        return CellReading(None)
    repairs = also(repairs, "SPACES", text != plain)
    timed = _TIME.fullmatch(text) or _JOINED_TIME.fullmatch(text)
    try:
        of_day = read_date(timed[1] if timed else text, from_1904=from_1904)
        day = of_day.value or date.min
        moment = _moment(day, timed) if timed else datetime(day.year, day.month, day.day)
    except CellRefused as refused:
        if refused.code in ("DATE_AMBIGUOUS", "EXCEL_EPOCH"):
            raise
        raise CellRefused("TIME_FORM", _NO_TIME + _stamped(text)) from None
    except ValueError:
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    halved = ("DATE_FORM_READ",) if timed and timed.re is _TIME and (timed[2] or timed[7]) else ()
    return CellReading(_zoned(moment), tuple(dict.fromkeys((*repairs, *of_day.repairs, *halved))))


def as_time(cell: Cell) -> datetime | None:
    """Return a time typed on a command line: see read_time."""
    return read_time(cell).value


def _whole_part(number: float) -> int:
    """Return the whole part of a number; 0 if it has none."""
    return int(number) if abs(number) < 1e15 else 0  # neither nan nor infinity is less


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
    if text in _ENDLESS:
        return CellRefused("DATE_FORM", "不是日期; 长期有效写作 2099-12-31")
    if len(readings) > 1:
        return CellRefused("DATE_AMBIGUOUS", f"可读作 {' 或 '.join(readings)}; 请写明是哪一天")
    return CellRefused("DATE_FORM", _NO_DATE + (f"; 是 {readings[0]} 吗" if readings else _why_no_date(text)))


_WITHIN = re.compile(r"(?:\d{4}|\d{2})[-/.年]\d{1,2}[-/.月]\d{1,2}[日号]?", re.ASCII)
_YEARS = (
    (re.compile(r"民[国國](\d{1,3})年(\d{1,2})月(\d{1,2})[日号]"), 1911),
    (re.compile(r"(\d\d)年(\d{1,2})月(\d{1,2})[日号]"), 2000),
)


_PARTLY = (
    (re.compile(r"\d{1,2}[-/.月]\d{1,2}[日号]?", re.ASCII), "缺少年份"),
    (re.compile(r"[\d二〇○零一三四五六七八九]{4}(?:[-/.年][\d一二三四五六七八九十]{0,3}月?)?"), "缺少月或日"),
    (re.compile(r"(?:自.+|[\d一二三四五六七八九十半]+个?[年月天日])(?:内|[年月天日])?"), "期限请写作到期的那一天"),
)


def _why_no_date(text: str) -> str:
    """Return the visible error of a text that is no date; nothing if a person would not see it."""
    if is_placeholder(text) or text in ("待定", "不限"):
        return "; 没有日期则留空"
    for form, begin in _YEARS:
        if found := form.fullmatch(text):
            return f"; 是 {begin + int(found[1])}-{found[2]:>02}-{found[3]:>02} 吗"
    days = _WITHIN.findall(text)
    if days:
        one = "没有这一天" if days[0] == text else f"是 {days[0]} 吗; 只写日期"
        return f"; {one}" if len(days) == 1 else "; 此格是一段时间或几个日期, 只写一个日期"
    return next((f"; {why}" for form, why in _PARTLY if form.fullmatch(text)), "") or _stamped(text)


def _stamped(text: str) -> str:
    """Return a question if a number may be a time stamp in milliseconds or seconds since 1970; otherwise nothing."""
    if not _STAMP.fullmatch(text):
        return ""
    seconds, unit = (int(text) / 1000, "毫秒") if len(text) == 13 else (int(text), "秒")
    return f"; 是{unit}时间戳 {datetime.fromtimestamp(seconds, CHINA):%Y-%m-%d %H:%M:%S} 吗"


def _readings(parts: tuple[str, ...]) -> set[str]:
    """Return the days, in ISO form, that three numbers may mean: year, month and day in any usual order."""
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
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
    try:
        zoned.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1 and the last of 9999 do not exist in other zones
        raise CellRefused("TIME_FORM", _NO_TIME) from None
    return zoned
