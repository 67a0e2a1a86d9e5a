"""A resident identity number in whatever spelling, in whatever text: known, covered and kept nowhere."""

from __future__ import annotations

import json
import random
import unicodedata
from datetime import UTC, datetime
from time import process_time
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from producers.statements.encoding import nested
from schemas.contracts.codec import encode
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.identifiers.persons import LONGEST, cover_persons, holds_person, names_person
from schemas.identifiers.persons_columns import covered_column, persons_in
from schemas.operations.event import Operation
from schemas.operations.log import covered as kept_event
from schemas.rules.examples import DEPARTMENT, good
from schemas.rules.limits import TEXT_LIMITS
from schemas.rules.texts import FORMED, TEXTS, broken_texts
from streams.forwarding.findings import shown
from streams.forwarding.masking import is_masked, keepable, keepable_number, masked
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.persons import CHECKS, GAPS, SCRIPTS, UNSEEN, number, others, short, written_in

_APART = tuple(gap for gap in GAPS if not set(gap) & set("、，,；;:：。.．×"))
"""What stands between the digits of one number of 15, and not between two numbers."""
_BEFORE = ("", "联系人", "身份证号:", "电话 13800138000, ", "ID", "三、", "(", "法定代表人\n", "=", "第1条 ")
_BEHIND = ("", "号", "。", ", 已到场", ")", "\n电话 13800138000", "先生")


def _mixed(draw: random.Random, plain: str) -> str:
    return "".join(draw.choice(SCRIPTS)[int(one)] if one.isdigit() else one for one in plain)


def _parted(draw: random.Random, plain: str, gaps: tuple[str, ...], times: int) -> str:
    places = sorted(draw.sample(range(1, len(plain)), times))
    parts = [plain[begin:end] for begin, end in zip((0, *places), (*places, len(plain)), strict=True)]
    return "".join(part + draw.choice(gaps) for part in parts[:-1]) + parts[-1]


def spelled(draw: random.Random) -> tuple[str, str]:
    """Return a number and a spelling of it."""
    is_short = draw.random() < 0.3
    place = draw.choice(("110101", "511123", "362322", "131082", "441900"))
    plain = short(draw, place=place) if is_short else number(draw, place=place)
    text = _mixed(draw, plain) if draw.random() < 0.3 else written_in(draw.choice(SCRIPTS), plain)
    if text.endswith("X"):
        text = text[:-1] + draw.choice(CHECKS)
    way = draw.randrange(5)
    if way == 1:
        text = _parted(draw, text, UNSEEN, draw.randrange(1, 14))
    elif way == 2:
        text = _parted(draw, text, (draw.choice(_APART if is_short else GAPS),), draw.randrange(1, 14))
    elif way == 3:
        text = _parted(draw, text, _APART if is_short else tuple(gap for gap in GAPS if gap != "."), 14)
    elif way == 4:
        gap = draw.choice(GAPS)
        text = gap.join((text[:6], text[6:12], text[12:]) if is_short else (text[:6], text[6:14], text[14:]))
    return plain, text


def digits_of(text: str) -> str:
    """Return the digits that a person reads in a text, in whatever script; what is covered stays a mark."""
    values = (one if one == "*" else unicodedata.numeric(one, -1) for one in unicodedata.normalize("NFKC", text))
    return "".join(one if isinstance(one, str) else f"{one:g}" for one in values if one == "*" or 0 <= one < 10)


def readable(text: str, plain: str) -> bool:
    """Tell whether birth date and serial number can be read out of a text, whatever stands between."""
    return (plain[6:15] if len(plain) == 15 else plain[6:17]) in digits_of(text).replace("*", "")


@given(st.randoms(use_true_random=False))
def test_any_spelling_is_known_and_covered(draw: random.Random) -> None:
    plain, spelling = spelled(draw)
    text = draw.choice(_BEFORE) + spelling + draw.choice(_BEHIND)
    assert holds_person(text), text
    assert names_person(spelling)
    covered = cover_persons(text)
    assert len(covered) == len(text)
    assert not holds_person(covered)
    assert not readable(covered, plain), covered
    column = pl.Series([None, text, "无", text])
    assert persons_in(column).to_list() == [False, True, False, True]
    assert covered_column(column).to_list() == [None, covered, "无", covered]
    value = b"\x30\x02" + text.encode() + b"\x30\x31"
    kept, _ = masked(value, None)
    assert is_masked(kept)
    assert len(kept) == len(value)
    assert not readable(kept.decode("utf-8", "replace"), plain), kept
    assert keepable(text) is None
    assert not readable(shown(text), plain)
    event = kept_event(Operation("REDRIVEN", "tax", datetime.now(UTC), text, text, {"choice": [{"why": text}], "n": 1}))
    assert not readable(json.dumps([event.by, event.reason, event.detail], ensure_ascii=False), plain)


@pytest.mark.parametrize("field", [name for name in TEXTS if name not in FORMED])
def test_no_text_of_a_statement_may_hold_one(field: str) -> None:
    draw = random.Random(field)
    if field.startswith("registration"):
        texts = pl.DataFrame({field: [spelled(draw)[1] for _ in range(6)]})
        assert broken_texts(texts, [field])["PERSONAL_IDENTIFIER", field].all()
        return
    kind = "LISTING" if field.startswith("listing") else "PENALTY"
    plain = []
    statements: list[dict[str, Any]] = []
    for _ in range(6):
        one, spelling = spelled(draw)
        plain.append(one)
        statements.append(nested(good(kind) | {field: f"{draw.choice(_BEFORE)}{spelling}"}))
    registry, recorder = MemoryRegistry(), Recorder()
    schema_id = registry.register("xinliu.Statement").to_bytes(4, "big")
    messages = [b"\0" + schema_id + encode("xinliu.Statement", one) for one in statements]
    with capture_logs() as logs:
        stage_of(registry, recorder)([records_of(f"records.{DEPARTMENT}", messages)])
    assert len(recorder.quarantined) == len(statements)
    for value, headers in recorder.quarantined:
        text = value.decode("utf-8", "replace") + json.dumps([h.decode() for _, h in headers], ensure_ascii=False)
        assert not [one for one in plain if readable(text, one)]
    assert not [one for one in plain if readable(json.dumps(logs, default=str, ensure_ascii=False), one)]


@given(st.randoms(use_true_random=False))
def test_numbers_of_documents_and_amounts_are_none(draw: random.Random) -> None:
    kind = draw.choice(("document", "amount", "telephone", "day"))
    text = others(draw, kind)
    assert not holds_person(text), text
    assert cover_persons(text) == text


def test_digits_in_other_encodings_are_covered_too() -> None:
    plain = number(random.Random(7))
    for text in (plain.encode("utf-16-le"), plain.encode("utf-16-be"), written_in(SCRIPTS[1], plain).encode("gb18030")):
        kept, _ = masked(b"\xff\xfe\x24" + text + b"\x80", None)
        assert is_masked(kept)
        assert len(kept) == len(text) + 4


def test_a_flood_of_digits_is_covered_in_a_moment() -> None:
    plain = number(random.Random(8))
    for text in (
        "1" * 1_000_000,
        "1 " * 500_000,
        (plain + " ") * 50_000,
        f"{plain[:12]} {plain[12:]}号" * 40_000,
        "１" * 300_000,
    ):
        began = process_time()
        kept, _ = masked(text.encode(), None)
        covered = cover_persons(text)
        assert process_time() - began < 5, "a message of 1 MiB holds nobody up"
        assert not readable(kept.decode("utf-8", "replace")[:2_000], plain)
        assert not readable(covered[:2_000], plain)


def test_every_text_that_may_be_stated_is_looked_at() -> None:
    assert max(TEXT_LIMITS.values()) <= LONGEST


def test_a_version_that_is_a_persons_number_is_not_kept() -> None:
    plain = next(one for one in (number(random.Random(seed)) for seed in range(99)) if one.isdigit())
    assert keepable_number(int(plain)) is None
    assert (keepable_number(1_795_000_000_000), keepable_number(None), keepable_number(0)) == (
        1_795_000_000_000,
        None,
        0,
    )
