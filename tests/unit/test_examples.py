"""How many examples a profile makes of a property."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.examples import examples


@pytest.mark.parametrize(
    ("profile", "number", "made"),
    [("ci", 500, 125), ("ci", 100, 25), ("ci", 40, 20), ("ci", 15, 15), ("long", 500, 500), ("long", 15, 15)],
)
def test_ci_makes_a_share_but_some_and_long_makes_all(profile: str, number: int, made: int) -> None:
    before = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        chosen = examples(number, HealthCheck.data_too_large)
    finally:
        settings.load_profile(before)
    assert (chosen.max_examples, chosen.deadline, chosen.derandomize) == (made, None, False)
    assert set(chosen.suppress_health_check) == {HealthCheck.too_slow, HealthCheck.data_too_large}
    assert chosen.database is not None
