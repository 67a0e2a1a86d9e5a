"""The command `xinliu` in a process whose clock is wrong: `python -m tests.chaos.clock SECONDS worker province …`.

`datetime.now` and `time.time` are ahead by so many seconds (behind, where negative), for whatever is imported
afterwards; the monotonic clock and the servers' clocks are not.
"""

from __future__ import annotations

import datetime as module
import sys
import time
from typing import Any

__all__ = ["main"]

_REAL = module.datetime


def _shift(seconds: float) -> None:
    ahead, seconds_now = module.timedelta(seconds=seconds), time.time

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, _REAL)  # what libraries made before, and in C

    class Wrong(_REAL, metaclass=Meta):  # type: ignore[misc]
        __slots__ = ()

        @classmethod
        def now(cls, tz: module.tzinfo | None = None) -> Any:
            return _REAL.now(tz) + ahead

    module.datetime = Wrong  # type: ignore[misc]
    time.time = lambda: seconds_now() + seconds


def main() -> None:
    """Set the clock wrong, and be the command."""
    _shift(float(sys.argv[1]))
    sys.argv[:] = ["xinliu", *sys.argv[2:]]
    from xinliu import main as command

    command()


if __name__ == "__main__":
    main()
