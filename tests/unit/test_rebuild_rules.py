"""Today's rules over what was accepted long ago: as of its own receipt, without what a person let through."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from aiokafka.structs import ConsumerRecord

from schemas.catalogue import load
from schemas.contracts.codec import encode
from streams.kafka.headers import ORIGIN, SIGNED, Origin
from streams.kafka.scope import ReplayScope
from streams.view.current_rules import Rules, Withheld
from streams.view.cut_offs import Cuts
from tests.exchanges import shared
from tests.statements import Statement, penalty, state
from tests.viewstore import NAME, of_bodies

RECEIVED = datetime(2026, 2, 1, 4, tzinfo=UTC)


def origin(row: int, topic: str = "records.tax") -> Origin:
    return Origin(topic, "id", 0, row)


def held(
    statements: list[Statement], rules: Rules, *, received: list[datetime] | None = None, topic: str = "records.tax"
) -> tuple[list[int], tuple[Withheld, ...]]:
    """Return which rows stand, and what is withheld."""
    bodies = [encode(NAME, one) for one in statements]
    times = received or [RECEIVED] * len(bodies)
    frame = of_bodies(bodies, 100).with_columns(pl.Series("received_at", times, dtype=pl.Datetime("ms", "UTC")))
    records = [
        ConsumerRecord(
            "accepted", 0, 100 + row, 0, 1, b"", body, None, 0, 0, ((ORIGIN, origin(row, topic).to_bytes()),)
        )
        for row, body in enumerate(bodies)
    ]
    kept, withheld = rules.hold(frame, records)
    return kept["row"].to_list(), withheld


def fined(number: str, fine: int) -> Statement:
    one = penalty(number)
    one["penalty"]["fine"] = Decimal(fine)
    return one


def test_what_today_s_rules_refuse_is_withheld_and_named() -> None:
    rows, withheld = held([fined("1", 2), fined("2", -1), fined("3", 2)], Rules(load(), "beijing"))
    assert rows == [0, 2]
    (one,) = withheld
    assert (one.accepted_offset, one.department) == (101, "tax")
    assert [found["code"] for found in one.findings] == ["NEGATIVE_AMOUNT"]


def test_what_a_person_let_through_stays() -> None:
    rules = Rules(load(), "beijing", lambda origins: [one for one in origins if one == origin(1)])
    rows, withheld = held([fined("1", -2), fined("2", -1)], rules)
    assert rows == [1]
    assert [one.accepted_offset for one in withheld] == [100]


def test_a_rule_that_looks_at_the_clock_looks_at_that_of_the_receipt() -> None:
    later = RECEIVED + timedelta(days=40)
    decided = [penalty(str(n)) for n in range(3)]
    for one in decided:
        one["penalty"]["decided_on"] = date(2026, 3, 1)
    rows, withheld = held(decided, Rules(load(), "beijing"), received=[RECEIVED, later, RECEIVED])
    assert rows == [1], "decided after the day on which it was received"
    assert [one.accepted_offset for one in withheld] == [100, 102]


def test_who_says_it_is_asked_again() -> None:
    rows, withheld = held([penalty("1")], Rules(load(), "beijing"), topic="records.market-regulation")
    assert rows == []
    assert "WRONG_DEPARTMENT" in {found["code"] for one in withheld for found in one.findings}


def test_a_department_that_is_gone_unsays_nothing() -> None:
    assert held([penalty("1")], Rules(load(), "beijing"), topic="records.gone")[0] == [0]


def test_what_another_province_said_is_its_own_to_judge() -> None:
    one = fined("1", -2)
    body = encode(NAME, one)
    frame = of_bodies([body], 0).with_columns(epoch=pl.lit(3, dtype=pl.Int64))
    record = ConsumerRecord("accepted", 0, 0, 0, 1, b"", body, None, 0, 0, ((ORIGIN, origin(0).to_bytes()),))
    assert Rules(load(), "beijing").hold(frame, [record])[1] == ()


CUT = ReplayScope(province="tianjin", key="stolen", since=RECEIVED, until=RECEIVED + timedelta(hours=2), cut_off=True)


@pytest.mark.parametrize(
    ("province", "signed", "hours", "stands"),
    [
        ("tianjin", b"stolen", 0, False),
        ("tianjin", b"stolen", 1, False),
        ("tianjin", None, 1, False),
        ("tianjin", b"stolen", -1, True),
        ("tianjin", b"stolen", 2, True),
        ("tianjin", b"another", 1, True),
        ("hebei", b"stolen", 1, True),
    ],
)
@pytest.mark.parametrize("status", ["IN_FORCE", "REVOKED"])
def test_what_was_cut_off_is_not_folded_and_waits(
    province: str, signed: bytes | None, hours: int, stands: bool, status: str
) -> None:
    """By key and by our broker's clock; a statement whose key nobody noted may be of that key."""
    said = shared(province, "1", entity=1)
    body = encode(NAME, said if status == "IN_FORCE" else state(said, status, version=2))
    frame = of_bodies([body], 0).with_columns(epoch=pl.lit(3, dtype=pl.Int64))
    at = int((RECEIVED + timedelta(hours=hours)).timestamp() * 1000)
    place = Origin(f"exchange.{province}", "id", 0, 0)
    headers = ((ORIGIN, place.to_bytes()), *(((SIGNED, signed),) if signed else ()))
    record = ConsumerRecord("accepted", 0, 0, at, 1, b"", body, None, 0, 0, headers)
    for rules in (Cuts((CUT,)), Rules(load(), "beijing", cuts=Cuts((CUT,)))):
        kept, withheld = rules.hold(frame, [record])
        assert (kept.height, len(withheld)) == ((1, 0) if stands else (0, 1))
        assert [found["code"] for one in withheld for found in one.findings] == ([] if stands else ["CUT_OFF"])
    assert Cuts().hold(frame, [record])[0].height == 1


def test_a_cut_off_is_read_as_it_was_planned() -> None:
    assert ReplayScope.from_detail(CUT.to_detail()) == CUT
    assert not CUT.whole
