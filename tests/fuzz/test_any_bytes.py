"""Any bytes at all: import, columns and intake answer every row, and nothing else comes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fuzz.choices import Choices, Drawn
from tests.fuzz.properties import PROPERTIES


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in PROPERTIES.items()])
@examples(250, HealthCheck.data_too_large)
@given(data=st.data())
def test_nothing_but_an_answer_comes_of_any_bytes(check: Callable[[Choices], None], data: st.DataObject) -> None:
    check(Drawn(data))
