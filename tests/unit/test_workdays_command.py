"""`xinliu catalogue workdays`: the day, what does not count and why; mistakes end in one line and exit code 2."""

from __future__ import annotations

import json

import pytest

from tests.commands import Ran, run


def workdays(*words: str) -> Ran:
    return run("catalogue", "workdays", *words)


def test_a_term_with_what_it_skips_and_why() -> None:
    done = workdays("2026-09-30", "--deadline", "report-penalty", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["working_days"], told["ends"], told["illustrative"]) == (7, "2026-10-15", "yes")
    assert told["skipped"][0] == {"day": "2026-10-01", "why": "国庆节"}
    assert told["skipped"][-1] == {"day": "2026-10-11", "why": "周日"}
    assert told["deadline"]["source"].startswith("发改办财金〔2018〕424号")
    assert "2026-10-15 (周四): 2026-09-30 之后第 7 个工作日" in workdays("2026-09-30", "7").stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("2026-12-29", "7"), "no calendar for 2027"),
        (("2026-09-30",), "one of them"),
        (("2026-09-30", "7", "--deadline", "report-penalty"), "one of them"),
        (("2026-09-30", "0"), "at least 1"),
        (("2026-09-30", "--deadline", "nothing"), "no deadline 'nothing'"),
        (("2026-09-30", "--deadline", "report-penalty", "--province", "shanghai"), "no province 'shanghai'"),
        (("2026-13-01", "7"), "does not match"),
        (("2026-09-30", "seven"), "valid integer"),
    ],
)
def test_a_mistake_is_told_in_a_line(words: tuple[str, ...], reason: str) -> None:
    done = workdays(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
