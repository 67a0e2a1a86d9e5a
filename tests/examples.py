"""How many examples Hypothesis makes for a property: few in profile `ci`, which is the usual one, all in `long`.

`XINLIU_HYPOTHESIS=long` or `--hypothesis-profile=long` chooses; tests/conftest.py says what each profile is.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

__all__ = ["CI", "LONG", "examples"]

CI, LONG = 25, 100
"""Examples of a property that names no number, by profile."""

_FEWEST = 20


def examples(number: int, *suppressed: HealthCheck, **others: Any) -> settings:
    """Return settings of so many examples in `long`, and of a share in `ci`: a quarter, but 20 unless `number` is less.

    The health checks that the profile suppresses are suppressed beside these.
    """
    profile = settings()
    share = number * profile.max_examples // LONG
    checks = (*profile.suppress_health_check, *suppressed)
    return settings(max_examples=max(share, min(number, _FEWEST)), suppress_health_check=checks, **others)
