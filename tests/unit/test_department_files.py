"""Files as departments really send them: what becomes of each is what is right (tests/cases)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cases import Case, cases, outcome


@pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in cases()])
def test_a_file_as_departments_send_it(case: Case) -> None:
    found = outcome(case)
    assert replace(found, text="") == case.expected, (case.right, found.text)
    assert [text for text in case.told if text not in found.text] == [], found.text
