"""Damage to texts by file formats, and its repair: width, spaces, guards, rounded numbers; each repair is named."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

from producers.files.table import Cell
from schemas.texts.spreadsheets import is_formula

__all__ = [
    "BLANK",
    "LETTERS_AND_DIGITS",
    "REPAIRS",
    "TURNING",
    "CellReading",
    "CellRefused",
    "also",
    "half_width",
    "raw_text",
    "seen",
    "unspaced",
    "whole_number",
    "written",
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
    "MERGED_CELL": "合并单元格的值记入所覆盖的各行",
    "PARTIES_SPLIT": "一行多个当事人, 每个当事人一条记录",
    "HEADER_READ": "表头由其他写法读出",
    "TITLE_ROW": "表头以上的标题行, 不作数据",
    "COMMENT": "单元格的批注, 不作数据",
    "HEADER_ROW": "表头的另一行或填写说明, 不作数据",
}
"""Code of a repair → its description."""
_ASCII = {0xFF01 + place: 0x21 + place for place in range(94)} | {0x3000: 0x20}
LETTERS_AND_DIGITS = {wide: plain for wide, plain in _ASCII.items() if chr(plain).isalnum()}
"""Full-width characters and their half-width twins: never NFKC, which reads ² as 2 and ① as 1."""
_UNSEEN = "\xad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff\U000e0000-\U000e007f"
_LEFT_TO_RIGHT = "\u202a\u202c\u202d\u2066\u2068\u2069"
_INVISIBLE = re.compile(f"[{_UNSEEN}{_LEFT_TO_RIGHT}]")
_UNDIRECTED = re.compile(f"[{_UNSEEN}]")
TURNING = re.compile("[\u202b\u202e\u2067]")
"""Shows the text after it from right to left: a person reads another text than the stored one."""
BLANK = re.compile("[\\s\u200c\u200d]+")
_BETWEEN_DIGITS = re.compile("(?<=[0-9])[\\s\u200c\u200d]+(?=[0-9])")
_ROUNDED = re.compile(r"\s*[+-]?(?:\d(?:\.\d+)?[Ee]\+\d{2,3}|\d\.\d+[Ee]\d{2,3}|\d{16,}\.0+)\s*", re.ASCII)
_MISREAD = re.compile("锟斤|斤拷锟|烫烫烫|屯屯屯|ï¼|(?:[Ã-ï][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]{1,2}){2}")
"""Traces of UTF-8 decoded as GBK or Windows-1252."""

_SUSPECT = frozenset(("", " ", "'", "=", "+", "-", *"0123456789"))
"""First characters of a guarded text or a rounded number."""
_FORMULA = re.compile(r'\s*="((?:[^"]|"")*)"\s*')
_PRIVATE = str.maketrans(
    "\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
    "\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
)
"""The 18 code points that GB 18030-2022 took out of private use (A6D9 to A6DF, A6EC, A6ED, A6F3; FE59 to FEA0)."""


class CellRefused(ValueError):
    """A cell that cannot be read without guessing; `code` and the message give the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CellReading(NamedTuple, Generic[T]):
    """The value of a cell, None if it is empty, and the repairs made to read it."""

    value: T | None
    repairs: tuple[str, ...] = ()


def whole_number(cell: Cell) -> Cell:
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= 1e15:
            raise _rounded()
        return int(cell)  # Excel stores every number as a float
    return cell


def raw_text(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """Return a cell as text, and its repairs. Raises CellRefused if Excel has rounded a long number."""
    if cell is None:
        return "", ()
    if isinstance(cell, str):
        if not cell.isascii() and _MISREAD.search(cell):
            raise CellRefused("GARBLED_TEXT", "此格的文字曾按错误的编码读取, 原字符已丢失; 请从原表重新取得")
        plain = cell.isprintable() and cell[:1] not in _SUSPECT
        return (cell, ()) if plain else _mended(cell)
    if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
        # JSON has 20260160.0 for a number of a workbook, and 1.10101E+17 for one that a program has rounded.
        if abs(cell) >= 10**15:
            raise _rounded()
        return str(int(cell)), ("NUMBER_AS_TEXT",)
    return str(whole_number(cell)), ("NUMBER_AS_TEXT",) if isinstance(cell, float) else ()


def _mended(cell: str) -> tuple[str, tuple[str, ...]]:
    text, repairs = _unguarded(cell)
    if ("." in text or "+" in text) and _ROUNDED.fullmatch(seen(text)):
        raise _rounded()
    if text.isprintable():
        return text, repairs
    standard = text.translate(_PRIVATE)
    return standard, also(repairs, "GB18030_2022", standard != text)


def _unguarded(text: str) -> tuple[str, tuple[str, ...]]:
    """Remove the guard that marks a cell as text: Excel's apostrophe, or the formula ="…" that exports write."""
    first = text.lstrip()[:1]
    if first == "=" and (found := _FORMULA.fullmatch(text)):
        return found[1].replace('""', '"'), ("TEXT_GUARD",)
    if first == "'" and (text.count("'") == 1 or is_formula(text.lstrip()[1:])):
        return text.lstrip()[1:], ("TEXT_GUARD",)
    return text, ()


def written(cell: Cell) -> tuple[str, tuple[str, ...]]:
    """Return a cell of figures in half width."""
    if isinstance(cell, str):
        return half_width(*_unguarded(cell))
    return ("" if cell is None else str(whole_number(cell))), ()


def _rounded() -> CellRefused:
    return CellRefused("NUMBER_ROUNDED", "Excel 已将此长数字取为近似值; 请将该列设为文本后重新填写")


def seen(text: str) -> str:
    """Return a text without invisible characters. Direction marks stay if they turn the text: a rule refuses it."""
    if text.isprintable():
        return text
    return (_UNDIRECTED if TURNING.search(text) else _INVISIBLE).sub("", text)


def half_width(text: str, repairs: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if text.isascii():
        return text, repairs
    spaced = text.replace("\u3000", " ")
    plain = spaced.translate(_ASCII)
    return plain, also(also(repairs, "FULL_WIDTH", plain != spaced), "SPACES", spaced != text)


def unspaced(text: str, repairs: tuple[str, ...], *, joining: bool = True) -> tuple[str, tuple[str, ...]]:
    """Remove the spaces. Without `joining` those between two digits stay, so that two numbers never become one."""
    if text.isascii() and " " not in text and text.isprintable():
        return text, repairs
    text, before = seen(text), text
    if joining or not _BETWEEN_DIGITS.search(text.strip()):
        text = BLANK.sub("", text)
    return text, also(repairs, "SPACES", text != before)


def also(repairs: tuple[str, ...], code: str, applies: bool) -> tuple[str, ...]:
    return (*repairs, code) if applies and code not in repairs else repairs
