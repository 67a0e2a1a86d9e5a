"""Mistakes of people and programs, each in one bad row: the change to a good row, and the rule it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

__all__ = ["MISTAKES", "Mistake"]

Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A kind of bad row: a name, the expected code of the finding, and the change to a good row."""

    name: str
    code: str
    spoil: Callable[[Cells, date], Cells]


def _with(**cells: str) -> Callable[[Cells, date], Cells]:
    return lambda row, _: {**row, **cells}


def _wrong_check_digit(row: Cells, _: date) -> Cells:
    code = row["CF_XDR_SHXYM"]
    return {**row, "CF_XDR_SHXYM": code[:-1] + ("0" if code[-1] != "0" else "1")}


def _future(row: Cells, today: date) -> Cells:
    return {**row, "CF_JDRQ": (today + timedelta(days=40)).isoformat()}


def _before(row: Cells, _: date) -> Cells:
    return {**row, "CF_YXQ": (date.fromisoformat(row["CF_JDRQ"]) - timedelta(days=1)).isoformat()}


def _ahead(row: Cells, today: date) -> Cells:
    return {**row, "更新时间": f"{today + timedelta(days=2)} 09:00:00"}


MISTAKES: tuple[Mistake, ...] = (
    Mistake("wrong check digit", "USCC_CHECK_DIGIT", _wrong_check_digit),
    Mistake("a resident identity number for a USCC", "USCC_RESIDENT_ID", _with(CF_XDR_SHXYM="362322198709086409")),
    Mistake("amount in 元", "MONEY_FORM", _with(CF_NR_FK="2000元")),
    Mistake("seven decimals", "MONEY_SCALE", _with(CF_NR_FK="0.1234567")),
    Mistake("amount longer than its field", "DECIMAL_OVERFLOW", _with(CF_NR_FK="12345678901234567890")),
    Mistake("no facts", "REQUIRED", _with(CF_SY="  ")),
    Mistake("a category that no law knows", "CATEGORY", _with(CF_CFLB="批评教育")),
    Mistake("decided in the future", "DECIDED_IN_FUTURE", _future),
    Mistake("valid until before the decision", "VALID_BEFORE_DECIDED", _before),
    Mistake("a date that does not exist", "DATE_FORM", _with(CF_JDRQ="2025-02-30")),
    Mistake("the year 9999", "DATE_RANGE", _with(CF_YXQ="9999-12-31")),
    Mistake("another department's authority", "WRONG_AUTHORITY", _with(CF_CFJGDM="11110000M00010217Y")),
    Mistake("a domain that does not exist", "DOMAIN", _with(领域="taxx")),
    Mistake("version ahead of the clock", "VERSION_AHEAD", _ahead),
    Mistake("a natural person", "NATURAL_PERSON", _with(CF_XDR_LB="自然人")),
    Mistake("an identity number in the remarks", "PERSONAL_IDENTIFIER", _with(BZ="联系人 362322198709086409 已到场")),
    Mistake("a character U+0000", "CONTROL_CHARACTER", _with(CF_SY="违法事实\0")),
)
