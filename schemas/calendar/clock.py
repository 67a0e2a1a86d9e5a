"""Times on the command line: China's, printed with their zone, and read back as printed."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schemas.errors import UsageError

__all__ = ["CHINA", "TIME_HELP", "read_time", "time_text"]

CHINA = ZoneInfo("Asia/Shanghai")
"""Zone of every time that a person reads or writes, whatever the machine's own zone is."""

TIME_HELP = "2026-11-23 10:00:00+08:00, as times are printed; without a zone it is China's."
"""Description of a time in the help of an option."""

_FORM = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})[日号]?"
    r"(?:[T ]?\s*(上午|下午|[AaPp]\.?[Mm]\.?)?\s*(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(?:[.,](\d{1,6})\d*)?秒?|分)?"
    r"\s*([AaPp]\.?[Mm]\.?)?\s*(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_AFTER_NOON = ("下午", "PM")
_OF_TWELVE = range(1, 13)


def time_text(time: datetime | None, *, missing: str = "—") -> str:
    """Return a time as every command prints it: China's, to the second, with its zone; `missing` for None.

    Fractions of a second are cut off, so that the text is never later than the time.

    >>> time_text(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    '2026-11-23 10:00:00+08:00'
    """
    return missing if time is None else time.astimezone(CHINA).isoformat(" ", "seconds")


def read_time(text: str | None, option: str) -> datetime | None:
    """Return the time that a person gave to an option, with its zone; None if none was given.

    Reads the output of `time_text` and ISO 8601, 2026/11/23 8:30, 下午3:20, 3:20 PM and 2026年11月23日, also in full-width
    characters. Without a zone it is China's; a day alone is its midnight. Raises UsageError, naming the option, for
    anything else.

    >>> read_time("2026-11-23 10:00:00+08:00", "--since") == read_time("2026-11-23T10:00", "--since")
    True
    """
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()
    found = _FORM.fullmatch(plain)
    try:
        if found is not None:
            year, month, day, before, hour, minute, second, fraction, after, zone = found.groups()
            hour = _of_day(hour, before, after)
            plain = (
                f"{year}-{month:>02}-{day:>02}T{hour or '00':>02}:{minute or '00':>02}:{second or '00':>02}"
                f".{fraction or '0':0<6}{zone or ''}"
            )
        time = datetime.fromisoformat(plain)
        zoned = time if time.tzinfo else time.replace(tzinfo=CHINA)
        zoned.astimezone(UTC), zoned.astimezone(CHINA)
        return zoned
    except (ValueError, OverflowError):
        # The first hours of the year 1 and the last of 9999 have no equivalent in another zone.
        raise UsageError(
            f"{option} {text!r} is no time: write 2026-11-23 10:00:00+08:00, or 2026-11-23T10:00 (China time);"
            " after noon 2026-11-23T15:20, 3:20 PM or 下午3:20"
        ) from None


def _of_day(hour: str | None, before: str | None, after: str | None) -> str | None:
    """Return the hour on the 24-hour clock, from one with 上午 or AM, 下午 or PM. Raises ValueError if it is no hour."""
    half = (before or after or "").upper().replace(".", "")
    if not hour or not half:
        return hour
    if (before and after) or (int(hour) not in _OF_TWELVE and not (half == "下午" and int(hour) < 24)):
        raise ValueError(hour)
    return str(int(hour) % 12 + 12 * (half in _AFTER_NOON))
