"""What another province says is bounded as our own departments' is: whatever intake would refuse of these enters no
view."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from schemas.calendar.periods import china_day
from schemas.catalogue import load
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements
from schemas.contracts.flat_frame import FLAT
from schemas.records.identity import registration_id
from schemas.records.partitioning import partitions_of
from schemas.rules import RULES, validate
from schemas.rules.examples import EXAMPLES, broken
from streams.exchange.incoming.entitlement import AHEAD, Entitlement
from tests.exchanges import of_province, shared, withdrawn
from tests.statements import Statement, listing, registration, state
from tests.unit.test_registration_rules import BROKEN as REGISTRATIONS
from tests.viewstore import WRITER

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = china_day(NOW)
JUDGE = Entitlement(load(), "tianjin", partitions=4, now=lambda: NOW)
NAME = "xinliu.Statement"


def told(frame: pl.DataFrame, epoch: int = 7) -> pl.DataFrame:
    """Return statements with what their messages say beside them: honest, but for what a test gives."""
    places = pl.Series("partition", partitions_of(frame["uscc"].fill_null(""), 4)).cast(pl.Int64)
    return frame.with_columns(places, epoch=pl.lit(epoch, dtype=pl.Int64))


def frame_of(*statements: Statement) -> pl.DataFrame:
    """Return statements as they are decoded."""
    bodies = [encode(NAME, one) for one in statements]
    return decode_statements(WRITER, bodies, range(len(bodies))).frame


def refused(*statements: Statement, epoch: int = 7) -> dict[int, set[str]]:
    """Return, by place, for what these are refused."""
    found = JUDGE.refused(told(frame_of(*statements), epoch))
    return {row: {one["code"] for one in findings} for row, findings in found.items()}


def fine(**changes: Any) -> Statement:
    """Return a penalty of Tianjin with changes of its envelope."""
    return {**shared("tianjin", "津税罚1", entity=3), **changes}


def penalised(**content: Any) -> Statement:
    return shared("tianjin", "津税罚1", entity=3, **content)


def named(**subject: Any) -> Statement:
    one = fine()
    return {**one, "subject": {**one["subject"], **subject}}


def registered(**content: Any) -> Statement:
    return of_province("tianjin", registration(entity=3, **content))


ATTACKS: dict[str, tuple[Statement, str]] = {
    "version": (fine(version=2**63 - 1), "VERSION_AHEAD"),
    "version eleven minutes ahead": (
        fine(version=int((NOW + timedelta(minutes=11)).timestamp() * 1000)), "VERSION_AHEAD",
    ),
    "stated": (fine(stated_at=datetime(2999, 1, 1, tzinfo=UTC)), "VERSION_AHEAD"),
    "since": (registered(since=date(2999, 12, 31)), "REGISTERED_IN_FUTURE"),
    "tomorrow": (registered(since=TODAY + timedelta(days=1)), "REGISTERED_IN_FUTURE"),
    "name since": (registered(name_since=TODAY + timedelta(days=1)), "REGISTERED_IN_FUTURE"),
    "before 1900": (registered(since=date(1899, 12, 31)), "DATE_RANGE"),
    "until": (registered(until=date(2000, 1, 1)), "UNTIL_BEFORE_SINCE"),
    "id": ({**registered(), "record_id": "0" * 32}, "REGISTRATION_ID"),
    "id of ours": ({**registered(), "record_id": registration_id("beijing", registered()["subject"]["uscc"])}, "REGISTRATION_ID"),
    "code": (named(uscc="<script>alert(1)</script>"), "USCC_LENGTH"),
    "code of 18": (named(uscc="<script>alert(1)</"), "USCC_ALPHABET"),
    "authority": (fine(authority="';DROP TABLE record"), "USCC_LENGTH"),
    "length": (named(name="名" * 5_000), "TEXT_TOO_LONG"),
    "escape": (named(name="甲\x1b[2J公司"), "CONTROL_CHARACTER"),
    "direction": (named(name="甲\u202e公司"), "DIRECTION_MARK"),
    "parts": (registered(name="甲|乙;丙"), "REGISTERED_NAME"),
    "former": (registered(former_names="甲|2999-01-01"), "FORMER_NAMES"),
    "fine": (penalised(fine=Decimal(-5)), "NEGATIVE_AMOUNT"),
    "decided": (penalised(decided_on=date(2999, 1, 1)), "DECIDED_IN_FUTURE"),
    "listed": (of_province("tianjin", listing("L1", entity=3, listed_on=date(2999, 1, 1))), "DECIDED_IN_FUTURE"),
    "disputed": (fine(disputed_since=date(2999, 1, 1)), "DISPUTED_IN_FUTURE"),
}  # fmt: skip
"""What a stolen key was shown to say (F5), and its like."""


@pytest.mark.parametrize(("statement", "code"), ATTACKS.values(), ids=ATTACKS)
def test_what_a_stolen_key_would_say_is_refused(statement: Statement, code: str) -> None:
    assert code in refused(statement)[0]


@pytest.mark.parametrize(
    "ending", [withdrawn, lambda one: state(one, "REVOKED", version=2), lambda one: state(one, "REPAIRED", version=2)]
)
def test_what_takes_a_record_away_is_bounded_too_and_otherwise_passes(ending: Any) -> None:
    assert refused(ending(fine())) == {}
    assert "VERSION_AHEAD" in refused({**ending(fine()), "version": 2**62})[0]
    assert refused({**withdrawn(fine()), "domain": "tax"}) == {}


@pytest.mark.parametrize("epoch", [0, -1, 2**62, 999_999_999_999_999_999, int((NOW + AHEAD).timestamp() * 1000) + 1])
def test_an_epoch_of_no_time_that_can_be_is_refused(epoch: int) -> None:
    assert refused(fine(), epoch=epoch)[0] == {"EXCHANGE_EPOCH"}


def test_an_epoch_of_a_clock_that_is_ahead_as_far_as_may_be_passes() -> None:
    assert refused(fine(), epoch=int((NOW + AHEAD).timestamp() * 1000)) == {}


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield for each rule that refuses a statement that breaks it, as a row of the flat frame."""
    refusing = {rule.code for rule in RULES if rule.severity == "refuse"}
    for code in sorted(EXAMPLES.keys() & refusing):
        yield code, broken(code)


@pytest.mark.parametrize(("code", "said"), list(examples()), ids=lambda value: value if isinstance(value, str) else "")
def test_no_row_that_our_own_intake_would_refuse_passes(code: str, said: dict[str, Any]) -> None:
    row = pl.DataFrame({name: [said.get(name, 0)] for name in FLAT.names()}, schema=FLAT)
    ours = validate(row, load(), today=TODAY, now=NOW).filter(pl.col("severity") == "refuse")["code"].to_list()
    theirs = {one["code"] for one in JUDGE.refused(told(row)).get(0, ())}
    assert set(ours) <= theirs, code


def test_nor_a_registration() -> None:
    refusing = {rule.code for rule in RULES if rule.severity == "refuse"}
    said = [(code, one) for code, _, one in REGISTRATIONS if code in refusing]
    found = refused(*(one for _, one in said))
    assert [code for row, (code, _) in enumerate(said) if code not in found.get(row, ())] == []


HOSTILE: dict[pl.DataType, list[Any]] = {
    pl.String(): ["", " ", "\0", "\x1b[2J", "甲\u202e乙", "\ufffd", "甲" * 20_001, "'; DROP TABLE record; --", "|;", "无", "9" * 18],
    pl.Int64(): [-(2**63), -1, 0, 2**63 - 1, 10**18],
    pl.Date(): [date(1, 1, 1), date(1899, 12, 31), TODAY + timedelta(days=1), date(2999, 12, 31), date(9999, 12, 31)],
    pl.Datetime("ms", "UTC"): [datetime(1, 1, 2, tzinfo=UTC), NOW + timedelta(minutes=11), datetime(9999, 12, 1, tzinfo=UTC)],
    pl.Decimal(18, 6): [Decimal(-5), Decimal("-0.000001"), Decimal(10**11)],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PENALTY", "LISTING", "REGISTRATION"])
def test_in_no_field_a_value_passes_that_our_own_intake_would_refuse(kind: str) -> None:
    """Every field of every kind, in all statuses, with values that hostile people write; all at once."""
    made = {
        "PENALTY": fine(),
        "LISTING": of_province("tianjin", listing("L1", entity=3)),
        "REGISTRATION": registered(former_names="甲|2020-01-01", name_since=date(2020, 1, 2)),
    }[kind]
    (plain,) = frame_of(made).rows(named=True)
    rows = [plain]
    for name, column in FLAT.items():
        for value in HOSTILE.get(column, ()):
            rows.append({**plain, name: value})
    frame = pl.DataFrame([{**one, "row": place} for place, one in enumerate(rows)], schema=FLAT)
    ours = validate(frame, load(), today=TODAY, now=NOW).filter(pl.col("severity") == "refuse")
    theirs = JUDGE.refused(told(frame))
    assert 0 not in theirs
    assert ours.height > 100
    for row, code in ours.select("row", "code").rows():
        assert code in {one["code"] for one in theirs.get(row, ())}, (rows[row], code)
