"""The set of statements that the log holds: whatever is said twice, erased or no statement, and however it is read."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.records.identity import accepted_key
from streams.integrity.log_set import LogSet, Sums, hashed
from streams.integrity.table_audit import record_spans
from tests.examples import examples

_SMALL = st.integers(-(2**63), 2**63 - 1)
KEYS = st.builds(
    accepted_key, st.uuids().map(lambda one: one.hex), st.sampled_from([0, 3]), st.integers(1, 3), _SMALL, _SMALL
)


@examples(20)
@given(st.lists(KEYS, min_size=1, max_size=12, unique=True), st.data())
def test_it_is_the_set_however_it_was_read(keys: list[str], data: st.DataObject) -> None:
    said = data.draw(st.lists(st.tuples(st.sampled_from([*keys, "no key", "", "é|1|x"]), st.booleans()), max_size=40))
    cut = data.draw(st.integers(0, len(said)))
    messages = [(offset, key, live) for offset, (key, live) in enumerate(said)]
    held = LogSet()
    held.take(0, messages[:cut], cut)
    held.take(0, messages[cut:], len(messages))
    assert held.next_offsets == {0: len(messages)}
    last = {key: live for key, live in said if key in keys}
    live = [key for key in keys if last.get(key)]
    hashes = hashed(keys)
    assert held.holds(hashes).tolist() == [key in live for key in keys]
    assert held.erased(hashes).tolist() == [last.get(key) is False for key in keys]
    for records in (0, 10_000, 10**9):
        found = [held.sums(*span) for span in _some(records)]
        assert sum(one.statements for one in found) <= len(live)
        if records < 10**9:
            assert sum(one.statements for one in found) == len(live)
    everything = held.sums(UUID(int=0), UUID(int=2**128 - 1))
    assert everything == Sums(len(live), *_xor(live))
    assert sorted(held.within(UUID(int=0), UUID(int=2**128 - 1)).tolist()) == sorted(hashed(live).tolist())


def test_a_slice_has_its_own_alone() -> None:
    held = LogSet()
    keys = [accepted_key(f"{first}{'0' * 31}", 0, 1, 5, 7) for first in "0123456789abcdef"]
    held.take(0, [(0, key, True) for key in keys], 1)
    span = UUID(int=0x3 << 124), UUID(int=(0x4 << 124) - 1)
    assert held.sums(*span) == Sums(1, 5, 7)
    assert held.within(*span).tolist() == hashed(keys[3:4]).tolist()


def _some(records: int) -> list[tuple[UUID, UUID]]:
    return [span for _, span in zip(range(64), record_spans(records), strict=False)]


def _xor(keys: list[str]) -> tuple[int, int]:
    high = low = 0
    for key in keys:
        digest = bytes.fromhex(key.split("|")[2])
        high ^= int.from_bytes(digest[:8], "big", signed=True)
        low ^= int.from_bytes(digest[8:], "big", signed=True)
    return high, low
