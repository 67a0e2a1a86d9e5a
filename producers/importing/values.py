"""Reading cells: what a file format garbles is mended, and each repair is named; nothing is guessed.

Every reader returns what a cell means and the codes (REPAIRS) of what was mended to see it. What can be read in two ways
is refused, and the message names both.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
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
    "UNIT_WRITTEN": "去除金额后所写的本列单位(万元)",
    "FLOAT_DUST": "浮点误差: 按 Excel 的15位有效数字读出",
    "TEXT_GUARD": '去除标明文字格的撇号或 ="…"',
    "GB18030_2022": "自造字区的字按 GB 18030-2022 读作标准字",
    "NUMBER_AS_TEXT": "数字格读作文字",
    "PARTIES_SPLIT": "一行多个当事人, 每个当事人一条记录",
    "HEADER_READ": "表头由其他写法读出",
    "TITLE_ROW": "表头以上的标题行, 不作数据",
    "HEADER_ROW": "表头的另一行或填写说明, 不作数据",
    "PREFILLED_ROW": "只有序号或预先填好的格, 不作数据",
}
"""Code of a repair → what it is."""

_CHINA = ZoneInfo("Asia/Shanghai")
_NO_TIME = "不是时间; 写作 2025-09-01 08:30:00"
_NO_DATE = "不是日期; 写作 2025-09-01、2025/9/1、20250901 或 2025年9月1日"

_ASCII = {0xFF01 + place: 0x21 + place for place in range(94)} | {0x3000: 0x20}
_LETTERS_AND_DIGITS = {wide: plain for wide, plain in _ASCII.items() if chr(plain).isalnum()}
"""Full-width characters and their half-width twins: never NFKC, which reads ² as 2 and ① as 1."""

_UNSEEN = "\xad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff\U000e0000-\U000e007f"
_LEFT_TO_RIGHT = "\u202a\u202c\u202d\u2066\u2068\u2069"
_INVISIBLE = re.compile(f"[{_UNSEEN}{_LEFT_TO_RIGHT}]")
_UNDIRECTED = re.compile(f"[{_UNSEEN}]")
_TURNING = re.compile("[\u202b\u202e\u2067]")
"""What has the text after it shown from right to left: whoever sees it reads another one than is written."""

_BLANK = re.compile("[\\s\u200c\u200d]+")
_BETWEEN_DIGITS = re.compile("(?<=[0-9])[\\s\u200c\u200d]+(?=[0-9])")

_STANDARD = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SEPARATED = re.compile(r"(\d{4})[-/.、‐‑‒–—―−](\d{1,2})[-/.、‐‑‒–—―−](\d{1,2})", re.ASCII)
_PLAIN = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_NUMERALS = "〇○零一二三四五六七八九十廿卅"
_CHINESE = re.compile(
    rf"(\d{{4}}|[{_NUMERALS[:12]}Oo]{{4}})年(\d{{1,2}}|[{_NUMERALS}]{{1,3}})月(\d{{1,2}}|[{_NUMERALS}]{{1,3}})[日号]?",
    re.ASCII,
)
_DIGITS = str.maketrans("〇○零Oo一二三四五六七八九", "00000123456789")
_ENDLESS = frozenset(("长期", "永久", "长期有效", "永久有效", "无期限", "无固定期限"))
_LATEST_YEAR = 2999
_UNORDERED = re.compile(r"(\d{1,2}|\d{4})[/.-](\d{1,2})[/.-](\d{1,2}|\d{4})", re.ASCII)
_TIME = re.compile(
    r"(.+?)(?:[ T]\s*|(?<=[日号]))(上午|下午)?\s*(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(?:(\.\d{1,6})\d{0,3})?秒?|分)?"
    r"\s*([AaPp][Mm])?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_JOINED_TIME = re.compile(r"(\d{8})(\d{2})(\d{2})(\d{2})?", re.ASCII)
_STAMP = re.compile(r"[1-3]\d{9}(?:\d{3})?", re.ASCII)
_GROUPED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_MONEY = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_TEN_THOUSAND = re.compile(r"(?:人民币)?(.+?)(?:万元|万|\(万元\))(?:人民币)?")
_ROUNDED = re.compile(r"\s*[+-]?(?:\d(?:\.\d+)?[Ee]\+\d{2,3}|\d\.\d+[Ee]\d{2,3}|\d{16,}\.0+)\s*", re.ASCII)
_FORMULA = re.compile(r'\s*="((?:[^"]|"")*)"\s*')
_YEAR_IN_BRACKETS = re.compile(
    r"[〔【\[(（［〈<{｛﹝「『《〖〘〚⟨⟦«‹❲﹙﹛﹤︹︷﹁“‘]((?:19|20)\d\d)[〕】\])）］〉>}｝﹞」』》〗〙〛⟩⟧»›❳﹚﹜﹥︺︸﹂”’]",
    re.ASCII,
)
_CATEGORIES = re.compile("[;；、,，\\s\u200c\u200d]+")
_PRIVATE = str.maketrans(
    "\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
    "\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
)
"""The 18 code points that GB 18030-2022 took out of the private use area (A6D9 to A6DF, A6EC, A6ED, A6F3; FE59 to FEA0)."""

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
        text = _seen(text).strip()
    return Reading(text or None, _with(repairs, "SPACES", text != raw)) if text else Reading(None)


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
    forward = plain if plain.isascii() else _TURNING.sub("", plain)  # its check digits say that it was not turned round
    text, repairs = _unspaced(forward, _with(repairs, "SPACES", forward != plain))
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
    seen = raw if raw.isprintable() else _seen(raw)
    parts = [part for part in _CATEGORIES.split(seen) if part]
    text = ";".join(parts)
    if not text:
        return Reading(None)
    unspaced = _BLANK.sub("", seen)
    spaces_only = unspaced == text
    repairs = _with(repairs, "SPACES", spaces_only and raw != text)
    return Reading(text, _with(repairs, "CATEGORY_SEPARATOR", not spaces_only))


def read_date(cell: Cell, *, from_1904: bool = False) -> Reading[date]:
    """Read a date: 2025-09-01, 2025/9/1, 20250901, 2025年9月1日, a date cell of Excel, or the number that it is for Excel.

    `from_1904` says that the workbook counts days from 1904: its numbers without a date's format are refused.
    """
    if isinstance(cell, date):
        moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
        return Reading(moment.date(), ("TIME_DROPPED",) if moment.timetz() != time() else ())
    if isinstance(cell, float) and not cell.is_integer() and _whole_part(cell) in _SERIALS:
        return Reading(_day(int(cell), from_1904), ("EXCEL_SERIAL", "TIME_DROPPED"))
    plain, repairs = _written(cell)
    whole = _seen(plain).strip()
    timed = _TIME.fullmatch(whole) or _JOINED_TIME.fullmatch(whole)
    if timed:
        return _day_of(timed, repairs, from_1904)
    text, repairs = _unspaced(plain.strip(), _with(repairs, "SPACES", whole != plain), joining=False)
    if not text:
        return Reading(None)
    for form in (_SEPARATED, _PLAIN, _CHINESE):
        found = form.fullmatch(text)
        if found:
            day = _calendar_day(*found.groups())
            return Reading(day, _with(repairs, "DATE_FORM_READ", not _STANDARD.fullmatch(text)))
    if len(text) == 5 and text.isascii() and text.isdecimal() and int(text) in _SERIALS:
        return Reading(_day(int(text), from_1904), (*repairs, "EXCEL_SERIAL"))
    raise _two_readings(text)


def _calendar_day(year: str, month: str, day: str) -> date:
    try:
        found = date(int(year.translate(_DIGITS)), _number(month), _number(day))
    except ValueError:
        raise CellRefused("DATE_FORM", _NO_DATE) from None
    if found.year > _LATEST_YEAR:
        raise CellRefused("DATE_RANGE", f"日期晚于{_LATEST_YEAR}年; 长期有效写作 2099-12-31")
    return found


def _number(written: str) -> int:
    """Return a number below 100, in digits or as 二十一. Raises ValueError where it is none."""
    if written.isdecimal():
        return int(written)
    tens, ten, units = written.replace("廿", "二十").replace("卅", "三十").partition("十")
    if not ten and (len(written) > 2 or (len(written) == 2 and written[0] not in "〇○零")):
        raise ValueError(written)
    number = f"{tens or 1}{units or 0}" if ten else tens
    return int(number.translate(_DIGITS)) if not ten or len(number) == 2 else int("")


def _day_of(timed: re.Match[str], repairs: tuple[str, ...], from_1904: bool) -> Reading[date]:
    """Return the day of a date that a time of day follows: midnight says nothing, another time is told to be dropped."""
    of_day = read_date(timed[1], from_1904=from_1904)
    if of_day.value is None:
        raise CellRefused("DATE_FORM", _NO_DATE)
    try:
        moment = _moment(of_day.value, timed)
    except ValueError:
        raise CellRefused("DATE_FORM", _NO_DATE) from None
    if moment.utcoffset() not in (None, timedelta(hours=8)):
        day = _zoned(moment).astimezone(_CHINA).date()
        raise CellRefused("DATE_FORM", f"所写不是中国时间的日期; 此刻在中国是 {day}, 请写明是哪一天")
    code = "DATE_FORM_READ" if moment.time() == time() else "TIME_DROPPED"
    return Reading(of_day.value, tuple(dict.fromkeys((*repairs, *of_day.repairs, code))))


def _moment(day: date, timed: re.Match[str]) -> datetime:
    """Return the time that a match of _TIME or _JOINED_TIME says. Raises ValueError where there is none such."""
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
    if isinstance(cell, float | Decimal):
        cell = _digits(cell)
    plain, repairs = _written(cell)
    text, repairs = _unspaced(plain, repairs, joining=False)
    if not text:
        return Reading(None)
    unit = _TEN_THOUSAND.fullmatch(text)
    if unit and _MONEY.fullmatch(unit[1].replace(",", "")):
        text, repairs = unit[1], (*repairs, "UNIT_WRITTEN")
    if _GROUPED.fullmatch(text):
        text, repairs = text.replace(",", ""), (*repairs, "THOUSANDS")
    if not _MONEY.fullmatch(text):
        hint = "; 金额单位为万元, 不写单位, 2000元写作 0.2" if text.endswith(("元", "万")) else ""
        raise CellRefused("MONEY_FORM", f"不是金额{hint}")
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise CellRefused("MONEY_FORM", "不是金额") from error
    if abs(amount) >= Decimal(10) ** 12:
        raise CellRefused("DECIMAL_OVERFLOW", "金额超过12位整数 (万元)")
    if amount != round(amount, 6):
        # Numbers of a workbook have 15 digits; what follows is what 0.1 + 0.2 leaves in binary.
        amount, repairs = Context(prec=15).plus(amount), (*repairs, "FLOAT_DUST")
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
    plain, repairs = _written(cell)
    text = _seen(plain).strip()
    if not text:
        return Reading(None)
    repairs = _with(repairs, "SPACES", text != plain)
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
    return Reading(_zoned(moment), tuple(dict.fromkeys((*repairs, *of_day.repairs, *halved))))


def as_time(cell: Cell) -> datetime | None:
    """Return a time as a person gives it on a command line: see read_time."""
    return read_time(cell).value


def read_version(cell: Cell) -> Reading[int]:
    """Read a version: a whole number."""
    plain, repairs = _written(cell)
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
            raise _rounded()
        return int(cell)  # Excel keeps every number as a float
    return cell


def _raw(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """Return a cell as text, and what was mended in it. Raises CellRefused where Excel has rounded the number that it was."""
    if cell is None:
        return "", ()
    if isinstance(cell, str):
        text, repairs = _unguarded(cell)
        start = text.lstrip()[:1]
        if (start.isdigit() or not start.isprintable()) and _ROUNDED.fullmatch(_seen(text)):
            raise _rounded()
        if not text.isprintable():
            standard = text.translate(_PRIVATE)
            return standard, _with(repairs, "GB18030_2022", standard != text)
        return text, repairs
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        # JSON says 20260160.0 where a workbook has a number, and 1.10101E+17 where a program has rounded one.
        if abs(cell) >= 10**15:
            raise _rounded()
        return str(int(cell)), ("NUMBER_AS_TEXT",)
    return str(_whole(cell)), ("NUMBER_AS_TEXT",) if isinstance(cell, float) else ()


def _unguarded(text: str) -> tuple[str, tuple[str, ...]]:
    """Take off what only says that a cell is text: the apostrophe of Excel, or the formula ="…" that exports write."""
    first = text.lstrip()[:1]
    if first == "=" and (found := _FORMULA.fullmatch(text)):
        return found[1].replace('""', '"'), ("TEXT_GUARD",)
    if first == "'" and text.count("'") == 1:
        return text.lstrip()[1:], ("TEXT_GUARD",)
    return text, ()


def _written(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """Return a cell of figures in half width."""
    if isinstance(cell, str):
        return _half_width(*_unguarded(cell))
    return ("" if cell is None else str(_whole(cell))), ()


def _digits(number: float | Decimal) -> str:
    """Return a number that is no text with all its digits, as no exponent hides them."""
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    return f"{exact:f}" if exact.is_finite() and abs(exact.adjusted()) < 400 else str(number)


def _rounded() -> CellRefused:
    return CellRefused("NUMBER_ROUNDED", "Excel 已将此长数字取为近似值; 请将该列设为文本后重新填写")


def _seen(text: str) -> str:
    """Return a text without what nobody sees. Marks of direction stay where the text is turned round: a rule refuses it."""
    if text.isprintable():
        return text
    return (_UNDIRECTED if _TURNING.search(text) else _INVISIBLE).sub("", text)


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
    text, before = _seen(text), text
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
    if text in _ENDLESS:
        return CellRefused("DATE_FORM", "不是日期; 长期有效写作 2099-12-31")
    if len(readings) > 1:
        return CellRefused("DATE_AMBIGUOUS", f"可读作 {' 或 '.join(readings)}; 请写明是哪一天")
    return CellRefused("DATE_FORM", _NO_DATE + (f"; 是 {readings[0]} 吗" if readings else _stamped(text)))


def _stamped(text: str) -> str:
    """Return the question whether a number is a time stamp, in milliseconds or seconds since 1970; nothing where it is none."""
    if not _STAMP.fullmatch(text):
        return ""
    seconds, unit = (int(text) / 1000, "毫秒") if len(text) == 13 else (int(text), "秒")
    return f"; 是{unit}时间戳 {datetime.fromtimestamp(seconds, _CHINA):%Y-%m-%d %H:%M:%S} 吗"


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
