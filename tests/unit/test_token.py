"""The token of a reading: whole or refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.report.domain_states import state_of
from consumers.report.token import Moment
from schemas.errors import UsageError

times = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
moments = st.builds(
    Moment,
    generation=st.integers(1, 99),
    topic_ids=st.dictionaries(st.sampled_from(["accepted", "quarantine"]), st.text(min_size=1), min_size=1),
    positions=st.dictionaries(
        st.sampled_from(["accepted", "quarantine"]),
        st.lists(st.integers(0, 1 << 60), min_size=1).map(tuple),
        min_size=1,
    ),
    data_as_of=st.dictionaries(st.text(min_size=1, max_size=10), times, max_size=50),
    read_at=times,
    known_until=st.none() | times,
    on=st.none() | st.dates(),
    window=st.none() | st.tuples(st.dates(), st.dates()),
)


@given(moments)
def test_a_token_is_the_moment(moment: Moment) -> None:
    assert Moment.from_token(moment.to_token()) == moment


@given(st.text(max_size=60))
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="no token"):
        Moment.from_token(text)


@given(moments, st.data())
def test_half_a_token_is_none(moment: Moment, data: st.DataObject) -> None:
    token = moment.to_token()
    with pytest.raises(UsageError, match="no token"):
        Moment.from_token(token[: data.draw(st.integers(0, len(token) - 2))])


@pytest.mark.parametrize(
    ("records", "pending", "silent", "state"),
    [(1, 1, True, "有"), (0, 2, True, "待核"), (0, 1, False, "待核"), (0, 0, True, "未归集"), (0, 0, False, "无")],
)
def test_none_is_said_only_where_nothing_is_missing(records: int, pending: int, silent: bool, state: str) -> None:
    assert state_of(records=records, pending=pending, silent=silent) == state
