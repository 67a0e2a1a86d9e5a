"""What is known and what is in force are two axes, a token brings back both, and SQL readers are told the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from psycopg.rows import dict_row, tuple_row

from consumers.report.credit_view import CreditView, read_in
from consumers.report.token import Moment
from schemas.calendar.periods import china_day
from schemas.catalogue import load
from schemas.catalogue.time_rows import VisibilityRow
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements, digests
from schemas.contracts.registry import WriterSchema
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from streams.projection.batch import Projection
from streams.projection.staging import staged
from streams.projection.time_rules import load_time
from tests.examples import examples
from tests.statements import Statement, listing, penalty, state

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
SHIPPED = load().time
Store = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own: its entities have no other records."""
    return own_stack


def tell(undone: Store, known_at: datetime, *statements: Statement, offset: int = 0) -> None:
    """Fold statements that the broker took at a time; tokens hold those whose offset is below 1,000,000."""
    undone.row_factory = tuple_row
    projection = Projection(undone)
    bodies = [encode(NAME, statement) for statement in statements]
    frame = decode_statements(WRITER, bodies, list(range(len(bodies)))).frame
    high, low = digests(bodies)
    count = len(bodies)
    writer = projection.writer_number(WRITER.fingerprint, WRITER.schema)
    frame = frame.with_columns(
        pl.Series("writer", [writer] * count, dtype=pl.Int16),
        pl.Series("accepted_partition", [0] * count, dtype=pl.Int16),
        pl.Series("accepted_offset", [offset] * count, dtype=pl.Int64),
        high.alias("digest_hi"),
        low.alias("digest_lo"),
        pl.Series("statement", bodies, dtype=pl.Binary),
        pl.Series("known_at", [known_at] * count, dtype=pl.Datetime("ms", "UTC")),
        pl.Series("received_at", [known_at] * count, dtype=pl.Datetime("ms", "UTC")),
        epoch=pl.lit(0, dtype=pl.Int64),
    )
    projection.fold(staged(frame)[0])


def asked(undone: Store, entity: int, **what: Any) -> CreditView:
    """Return what a reader is told."""
    undone.row_factory = dict_row
    return read_in(undone, generate(entity), **what)


def numbers(view: CreditView) -> list[str]:
    """Return the numbers of what is shown."""
    return [row["document_number"] for row in view.penalties] + [row["entry_id"] for row in view.listings]


def told(view: CreditView) -> Any:
    """Return everything of an answer but the time at which it was read; a token names only sources that vouched."""
    vouched = {department: until for department, until in view.moment.data_as_of.items() if until is not None}
    return replace(view, moment=replace(view.moment, read_at=datetime(2026, 1, 1, tzinfo=UTC), data_as_of=vouched))


EARLY, LATE = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
BETWEEN = datetime(2026, 7, 1, tzinfo=UTC)


def test_a_record_known_late_about_an_early_day(undone: Store) -> None:
    tell(undone, LATE, penalty("迟1号", entity=1, decided_on=date(2026, 1, 5)))
    assert numbers(asked(undone, 1, on=date(2026, 1, 5))) == ["迟1号"]
    assert numbers(asked(undone, 1, on=date(2026, 1, 4))) == []
    assert numbers(asked(undone, 1, on=date(2026, 1, 5), as_of=BETWEEN)) == []
    assert numbers(asked(undone, 1, as_of=BETWEEN)) == []


def test_a_removal_known_later(undone: Store) -> None:
    entry = listing("移1号", entity=2, listed_on=date(2026, 2, 1))
    removed = listing(
        "移1号", version=2, entity=2, listed_on=date(2026, 2, 1), removed_on=date(2026, 3, 1), removal_reason="提前移出"
    )
    tell(undone, EARLY, entry)
    tell(undone, LATE, removed)
    found = {
        (on, as_of): numbers(asked(undone, 2, on=on, as_of=as_of))
        for on in (date(2026, 2, 28), date(2026, 3, 1))
        for as_of in (None, BETWEEN)
    }
    assert found == {
        (date(2026, 2, 28), None): ["移1号"],
        (date(2026, 2, 28), BETWEEN): ["移1号"],
        (date(2026, 3, 1), None): [],
        (date(2026, 3, 1), BETWEEN): ["移1号"],
    }
    assert numbers(asked(undone, 2)) == ["移1号"], "a report's window still meets it"


def test_a_level_corrected_later(undone: Store) -> None:
    tell(undone, EARLY, penalty("级1号", entity=3, decided_on=date(2026, 5, 6), level="一般"))
    tell(undone, LATE, penalty("级1号", version=2, entity=3, decided_on=date(2026, 5, 6), level="轻微"))
    window = {"window_to": date(2026, 11, 25)}
    (now,) = asked(undone, 3, **window).penalties
    (then,) = asked(undone, 3, **window, as_of=BETWEEN).penalties
    assert (now["level"], now["publish_to"], now["publishable"], now["reportable"]) == (
        "轻微", date(2026, 8, 6), False, True,
    )  # fmt: skip
    assert (then["level"], then["publish_to"], then["publishable"], then["reportable"]) == (
        "一般", date(2027, 5, 6), True, True,
    )  # fmt: skip


def test_a_repair_hides_and_a_revocation_erases_on_every_day(undone: Store) -> None:
    first, second = (penalty(f"修{n}号", entity=4, decided_on=date(2026, 1, 5)) for n in (1, 2))
    tell(undone, EARLY, first, second)
    tell(undone, LATE, state(first, "REPAIRED", version=2), state(second, "REVOKED", version=2))
    assert numbers(asked(undone, 4, on=date(2026, 1, 5))) == []
    then = asked(undone, 4, on=date(2026, 1, 5), as_of=BETWEEN)
    assert numbers(then) == ["修1号"]
    assert then.erased == 1


def test_the_year_begins_in_china(undone: Store) -> None:
    tell(undone, datetime(2025, 12, 31, 16, 30, tzinfo=UTC), penalty("年1号", entity=5, decided_on=date(2025, 12, 30)))
    new_year = datetime.fromisoformat("2026-01-01T00:00:00+08:00")
    assert numbers(asked(undone, 5, as_of=new_year)) == []
    assert numbers(asked(undone, 5, as_of=datetime.fromisoformat("2026-01-01T00:30:00+08:00"))) == ["年1号"]
    assert numbers(asked(undone, 5, as_of=datetime.fromisoformat("2025-12-31T16:30:00+00:00"))) == ["年1号"]


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"window_from": date(2026, 1, 1), "window_to": date(2026, 6, 30)},
        {"as_of": BETWEEN},
        {"on": date(2026, 2, 10)},
        {"on": date(2026, 3, 5), "as_of": BETWEEN},
    ],
    ids=["now", "a window", "as of", "on", "both"],
)
def test_a_token_brings_back_both_axes(undone: Store, what: dict[str, Any]) -> None:
    entry = listing("令1号", entity=6, listed_on=date(2026, 2, 1))
    removed = {"listed_on": date(2026, 2, 1), "removed_on": date(2026, 3, 1), "removal_reason": "期满"}
    tell(undone, EARLY, entry, penalty("令2号", entity=6, decided_on=date(2026, 1, 5), level="严重"))
    tell(undone, LATE, listing("令1号", version=2, entity=6, **removed))
    before = asked(undone, 6, **what)
    # What comes later stands behind the positions of the token.
    undone.execute("UPDATE position SET next_offset = 3000000")
    later = penalty("令2号", version=2, entity=6, decided_on=date(2026, 1, 5), level="轻微", content="更正")
    tell(undone, datetime(2026, 11, 1, tzinfo=UTC), later, offset=2_000_000)
    token = before.moment.to_token()
    again = asked(undone, 6, moment=Moment.from_token(token))
    assert told(again) == told(before)
    assert again.moment.to_token() == token
    assert numbers(before), "something was there to compare"


@given(st.data())
@examples(15, *HealthCheck)
def test_what_sql_readers_are_told_is_what_show_tells(undone: Store, data: st.DataObject) -> None:
    near = st.dates(date(2021, 1, 1), date(2026, 11, 1))
    entity = data.draw(st.integers(1_000, 999_999))
    said = [
        penalty(
            f"同{n}号", entity=entity, decided_on=first, valid_until=first + timedelta(data.draw(st.integers(0, 2_000))),
            level=data.draw(st.sampled_from([None, "轻微", "一般", "严重"])), publish_until=data.draw(st.none() | near),
        )
        for n, first in enumerate(data.draw(st.lists(near, min_size=1, max_size=6)))
    ]  # fmt: skip
    for n, first in enumerate(data.draw(st.lists(near, min_size=1, max_size=4))):
        left = data.draw(st.none() | st.integers(0, 2_000).map(lambda number, first=first: first + timedelta(number)))
        reason = {"removed_on": left, "removal_reason": "期满"} if left else {}
        said.append(listing(f"同{n}条", entity=entity, listed_on=first, **reason))
    with undone.transaction(force_rollback=True):
        tell(undone, EARLY, *said)
        day = data.draw(st.dates(date(2023, 9, 1), date(2026, 11, 25)))
        from_sql = {
            row["record_id"]: row
            for function in ("penalties_on", "listings_on")
            for row in _rows(undone, f"SELECT * FROM report.{function}(%s, %s)", (generate(entity), day))
        }
        view = asked(undone, entity, window_to=day)
        shown = {row["record_id"]: row for row in (*view.penalties, *view.listings)}
        assert shown.keys() == {key for key, row in from_sql.items() if row["in_window"]}
        for key, row in shown.items():
            assert {name: row[name] for name in from_sql[key]} == from_sql[key]
        on = asked(undone, entity, on=day)
        assert {row["record_id"] for row in (*on.penalties, *on.listings)} == {
            key for key, row in from_sql.items() if row["in_force"]
        }
        counted = {line.domain: (line.penalties, line.listings) for line in view.domains}
        folded = asked(undone, entity, moment=view.moment)
        assert counted == {line.domain: (line.penalties, line.listings) for line in folded.domains}
        today = _rows(undone, "SELECT DISTINCT day FROM report.penalty_today WHERE uscc = %s", (generate(entity),))
        assert [row["day"] for row in today] == [china_day(datetime.now(UTC))] * len(today)


def _rows(undone: Store, query: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    undone.row_factory = dict_row
    return undone.execute(query, values).fetchall()


def test_a_decision_that_is_data_changes_what_counts(undone: Store) -> None:
    tell(undone, EARLY, penalty("微1号", entity=7, decided_on=date(2026, 5, 6), level="轻微"))
    window = {"window_to": date(2026, 11, 25)}

    def state_of_tax() -> str:
        (line,) = (line for line in asked(undone, 7, **window).domains if line.domain == "tax")
        return line.state

    assert state_of_tax() == "有"
    first = VisibilityRow.model_validate({
        "decision": "reportable", "kind": "PENALTY", "level": "轻微", "status": "IN_FORCE", "publication": "*",
        "report_window": "*", "answer": "no", "effective_from": "2023-09-01", "source": "a test", "illustrative": "yes",
    })  # fmt: skip
    load_time(undone, replace(SHIPPED, visibility=(first, *SHIPPED.visibility)))
    assert state_of_tax() != "有"
    (row,) = asked(undone, 7, **window).penalties
    assert row["reportable"] is False
    undone.execute("DELETE FROM xinliu.visibility")
    assert state_of_tax() == "有", "for want of a rule nothing becomes 无"
