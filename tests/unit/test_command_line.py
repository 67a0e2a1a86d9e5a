"""The command line alike everywhere: its clock, its keys and codes, its hints, a home that cannot be used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calendar.clock import read_time, time_text
from schemas.catalogue import load
from schemas.console.hints import hint, hints_for
from schemas.console.typed_text import code_typed, department_key, department_typed, entry_typed
from schemas.errors import UsageError
from tests.commands import run
from tests.examples import examples

TEN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
CHINESE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
"""To full-width characters."""


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Shanghai"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine in this time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 10:00:00+08:00", "2026-11-23T10:00:00+08:00", "2026-11-23 10:00:00", "2026-11-23T10:00", "2026-11-23 10:00", "2026/11/23 10:00",
        "2026年11月23日 10:00", "2026年11月23日10时00分", "2026.11.23 10:00", "20261123T1000", "2026-11-23T02:00Z", "2026-11-22 21:00:00-05:00",
        "2026-11-23T12:00:00+1000", "２０２６－１１－２３　１０：００", " 2026-11-23 10:00 ", "2026-11-23 10:00:00.000",
        "2026-11-23 上午10:00", "2026年11月23日上午10时00分", "2026-11-23 10:00 AM", "2026/11/23 10:00:00 a.m.", "2026-11-23 AM 10:00",
        "2026-11-22 9:00 PM -05:00", "２０２６－１１－２３　上午１０：００",
    ],
)  # fmt: skip
def test_times_are_read_alike_on_every_machine(zone: str, text: str) -> None:
    assert read_time(text, "--since") == TEN
    assert time_text(read_time(text, "--since")) == "2026-11-23 10:00:00+08:00"


@given(
    moment=st.datetimes(datetime(1950, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)),
    hours=st.integers(-12, 14),
)
@examples(200)
def test_what_is_printed_is_read_back(moment: datetime, hours: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    read = read_time(time_text(elsewhere), "--since")
    assert read is not None
    assert timedelta() <= moment - read < timedelta(seconds=1)
    assert time_text(read) == time_text(elsewhere)


@pytest.mark.parametrize(
    "text",
    ["", "gestern", "2026-13-01", "2026-02-30 10:00", "10:00", "0001-01-01", "9999-12-31T23:59-12:00", "1790000000",
     "2026-11-23 13:00 PM", "2026-11-23 0:30 AM", "2026-11-23 下午10:00 PM", "2026-11-23 PM", "2026-11-23 中午12:00", "2026-11-23 下午"],
)  # fmt: skip
def test_what_is_no_time_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match=r"--until .* is no time: write 2026-11-23 10:00:00"):
        read_time(text, "--until")


@pytest.mark.parametrize(
    ("text", "hour"),
    [("12:20 AM", 0), ("1:20 am", 1), ("12:20 PM", 12), ("3:20 PM", 15), ("下午3:20", 15), ("下午15:20", 15), ("上午12:20", 0), ("下午12:20", 12),
     ("11:20 p.m.", 23)],
)  # fmt: skip
def test_half_a_day_is_read(text: str, hour: int) -> None:
    assert time_text(read_time(f"2026-11-23 {text}", "--since")) == f"2026-11-23 {hour:02}:20:00+08:00"


def test_what_is_no_time_is_answered_by_an_example() -> None:
    with pytest.raises(UsageError, match="3:20 PM or 下午3:20"):
        read_time("2026-11-23 晚上8点", "--since")


def test_no_time_is_none() -> None:
    assert read_time(None, "--since") is None
    assert time_text(None) == "—"


def test_no_command_reads_the_clock_of_the_machine() -> None:
    for room in ("producers", "streams", "consumers", "deploy", "schemas"):
        for path in Path(room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert ".astimezone()" not in text, f"{path}: the machine's zone"
            assert "datetime.now()" not in text, f"{path}: the machine's zone"
            assert 'ZoneInfo("Asia/Shanghai")' not in text or path.name == "clock.py", (
                f"{path}: schemas.calendar.clock has it"
            )


@pytest.mark.parametrize("row", load().department_rows, ids=lambda row: f"{row.province}-{row.key}")
def test_every_name_in_the_catalogue_is_a_key(row: object) -> None:
    name, key = row.name_zh, row.key  # type: ignore[attr-defined]
    forms = (
        key,
        key.upper(),
        key.translate(CHINESE),
        f" {key} ",
        name,
        " ".join(name),
        f"　{name}\n",
        name.translate(CHINESE),
    )
    assert {department_key(form) for form in forms} == {key}


@pytest.mark.parametrize(
    ("text", "key"),
    [("税务局", "tax"), ("税 务 局", "tax"), ("Tax", "tax"), ("财政局", "finance"), ("unknown", "unknown")],
)
def test_parts_of_names(text: str, key: str) -> None:
    assert department_typed(text) == key
    assert entry_typed([f"{text}/0/12", f"{text}／0／12"]) == [f"{key}/0/12"] * 2


@pytest.mark.parametrize(("text", "why"), [("局", "departments: choose one of"), ("天文台", "there is no department")])
def test_a_name_that_is_none_or_several(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        department_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "91110000M60003043C",
        "９１１１００００Ｍ６０００３０４３Ｃ",
        " 91110000m60003043c\u200b",
        "91110000 M6000 3043C",
        "91110000M60003043C\n",
    ],
)
def test_codes(text: str) -> None:
    assert code_typed(text) == "91110000M60003043C"
    assert code_typed([text]) == ["91110000M60003043C"]
    assert code_typed(None) is None


def test_hints_name_the_stack_that_was_given() -> None:
    text = "see `xinliu status`, `xinliu exchange keys use K` or xinliu --stack b up; the xinliu that made it, xinliu-status"
    try:
        hints_for("trial", ["status", "exchange"])
        assert hint(text) == (
            "see `xinliu --stack trial status`, `xinliu --stack trial exchange keys use K` or xinliu --stack b up; the xinliu"
            " that made it, xinliu-status"
        )
        assert hint(hint(text)) == hint(text)
    finally:
        hints_for(None, [])
    assert hint(text) == text


@pytest.mark.parametrize("words", [("status",), ("show", "91110000M60003043C"), ("mark", "--department", "税务局")])
def test_mistakes_name_the_stack(tmp_path: Path, words: tuple[str, ...]) -> None:
    home = {"XINLIU_HOME": str(tmp_path)}
    with_stack = run("--stack", "trial", *words, env=home)
    assert (with_stack.returncode, with_stack.stderr) == (
        2, "xinliu: there is no local stack 'trial': start one with `xinliu --stack trial up`\n",
    )  # fmt: skip
    without = run(*words, env=home | {"XINLIU_STACK": "trial"})
    assert without.stderr == "xinliu: there is no local stack 'trial': start one with `xinliu up`\n"


@pytest.mark.parametrize(
    "words", [("up",), ("up", "--provinces", "beijing,hebei"), ("show", "91110000M60003043C"), ("status",)]
)
@pytest.mark.parametrize("kind", ["file", "below a file", "below /proc"])
def test_a_home_that_cannot_be_used_is_one_line(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    home = {"file": file, "below a file": file / "home", "below /proc": Path("/proc/none/home")}[kind]
    done = run(*words, env={"XINLIU_HOME": str(home)})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("xinliu: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = run("up", env={"XINLIU_HOME": str(tmp_path)})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
