"""Two provinces that should hold the same: whatever is lost, changed or added by hand on either side is found, named, and mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.servers.connection import Connection
from streams.exchange.sets.answers import SetAnswers
from tests.damage import emptied
from tests.exchanges import entities
from tests.pairs import Pair
from tests.statements import Statement, penalty, state
from tests.viewstore import Store, opened

ORIGIN_GENERATION, FAR_GENERATION = 931, 932
ENTITIES = entities(0, 30)


@pytest.fixture(scope="module")
def stores(stack: Connection) -> Iterator[tuple[Store, Store]]:
    """Tables of an origin and of a province that it shares with."""
    with opened(stack, ORIGIN_GENERATION) as origin, opened(stack, FAR_GENERATION) as far:
        yield origin, far


@pytest.fixture
def pair(stack: Connection, stores: tuple[Store, Store]) -> Iterator[Pair]:
    """Both, with the same thirty penalties in two domains."""
    origin, far = stores
    emptied(origin)
    emptied(far)
    origin.execute("TRUNCATE xinliu.shared_record, xinliu.shared_digest, xinliu.exchange_wanted")
    made = Pair(origin, far, stack.database.get_secret_value(), ORIGIN_GENERATION, FAR_GENERATION)
    made.share(SAID)
    yield made
    origin.execute("TRUNCATE xinliu.shared_record, xinliu.shared_digest, xinliu.exchange_wanted")


SAID: list[Statement] = [
    *(penalty(f"E{n}", entity=entity) for n, entity in enumerate(ENTITIES[:20])),
    *(penalty(f"F{n}", entity=entity, key="market-regulation") for n, entity in enumerate(ENTITIES[20:])),
]
CORRECTED = penalty("E3", version=2, entity=ENTITIES[3], content="改")


def test_what_is_equal_stays_so(pair: Pair) -> None:
    assert pair.held() == pair.shared()
    assert pair.heal() == 0
    assert pair.differences() == []


def test_a_run_that_never_came_is_pushed_again(pair: Pair) -> None:
    pair.share([CORRECTED, penalty("E99", entity=ENTITIES[0])], lost=True)
    assert pair.held() != pair.shared()
    pair.heal()
    assert pair.held() == pair.shared()
    assert pair.differences() == ["MISSING", "OLDER"]
    assert pair.differences(open_only=True) == []


def test_a_set_that_never_came_comes_in_portions(pair: Pair) -> None:
    pair.far.execute("TRUNCATE record, record_history, credit_view, foreign_digest")
    pair.far_log.entries.clear()
    pair.answering = SetAnswers("beijing", lines=7)
    pair.checkpoint()
    assert pair.ask() == 2
    sizes = []
    while (went := pair.answer()) > 0:
        sizes.append(went)
    assert len(sizes) >= 4
    assert max(sizes) <= 8
    pair.heal()
    assert pair.held() == pair.shared()
    assert pair.differences() == ["MISSING"] * 30


def test_what_the_origin_does_not_share_is_taken_out(pair: Pair) -> None:
    pair.origin.execute(
        "UPDATE xinliu.shared_record SET state = 'WITHDRAWN' WHERE record_id IN (SELECT record_id FROM record ORDER BY record_id LIMIT 2)"
    )
    pair.origin.execute("DELETE FROM xinliu.shared_digest")
    pair.share([], lost=True)
    assert len(pair.shared()) == 28
    pair.heal()
    assert pair.held() == pair.shared()
    assert pair.differences() == ["EXTRA", "EXTRA"]
    assert pair.far.execute("SELECT sum(records) FROM credit_view").fetchone() == (28,)
    assert pair.far.execute(
        "SELECT count(*) FROM record_history WHERE status = 'IN_FORCE' AND statement IS NULL"
    ).fetchone() == (2,)


BY_HAND = {
    "row deleted": "DELETE FROM record WHERE penalty_document_number IN ('E1', 'F1')",
    "row and history deleted": "WITH r AS (DELETE FROM record WHERE penalty_document_number = 'E1' RETURNING record_id)"
    " DELETE FROM record_history WHERE record_id IN (SELECT record_id FROM r)",
    "content changed": "UPDATE record SET penalty_facts = '无' WHERE penalty_document_number = 'E2'",
    "rank raised": "UPDATE record SET version = version + 5 WHERE penalty_document_number = 'E2'",
    "digest changed": "UPDATE record SET digest_hi = 5 WHERE penalty_document_number = 'E2'",
    "row added": "INSERT INTO record SELECT (jsonb_populate_record(r, jsonb_build_object('record_id', gen_random_uuid()))).* FROM record r LIMIT 1",
    "all rows deleted": "DELETE FROM record",
}


@pytest.mark.parametrize("side", ["origin", "far"])
@pytest.mark.parametrize("done", BY_HAND.values(), ids=BY_HAND.keys())
def test_what_was_done_by_hand_in_either_province_is_mended(pair: Pair, side: str, done: str) -> None:
    before = pair.shared()
    store = pair.origin if side == "origin" else pair.far
    assert store.execute(done).rowcount > 0
    pair.heal()
    assert pair.shared() == before
    assert pair.held() == before
    assert pair.differences(open_only=True) == []
    for one in (pair.origin, pair.far):
        assert one.execute("SELECT count(*) FROM row_difference WHERE mended_at IS NULL").fetchone() == (0,)


def test_what_is_gone_from_the_log_too_comes_from_the_origin(pair: Pair) -> None:
    gone = pair.far.execute("DELETE FROM record WHERE penalty_document_number = 'E4' RETURNING record_id").fetchall()
    pair.far.execute("DELETE FROM record_history WHERE record_id = %s", gone[0])
    pair.far_log.entries = [entry for entry in pair.far_log.entries if entry.key[:32] != gone[0][0].hex]
    pair.heal()
    assert pair.held() == pair.shared()
    assert pair.differences() == ["MISSING"]


def test_a_repair_that_never_came_is_followed(pair: Pair) -> None:
    pair.share([state(SAID[5], "REVOKED", version=9)], lost=True)
    pair.heal()
    assert pair.held() == pair.shared()
    assert pair.far.execute(
        "SELECT count(*) FROM record_history WHERE version = %s AND statement IS NOT NULL AND record_id = %s",
        (SAID[5]["version"], SAID[5]["record_id"]),
    ).fetchone() == (0,)


def test_a_question_is_answered_once_and_asked_ever_more_rarely(pair: Pair) -> None:
    pair.share([CORRECTED], lost=True)
    assert pair.ask() == 1
    assert pair.ask() == 1, "it stands in the status for a while"
    assert pair.answer() > 0
    assert pair.answer() == 0, "its repetitions are no questions"
    pair.far.execute(
        "UPDATE foreign_domain SET held_records = 0 WHERE domain = 'tax'"
    )  # as if the answer had not helped
    waits = []
    for _ in range(6):
        pair.far.execute("UPDATE exchange_request SET due_at = now(), asked_at = now() - interval '1 minute'")
        pair.ask()
        row = pair.far.execute(
            "SELECT EXTRACT(EPOCH FROM due_at - asked_at)::integer, tries FROM exchange_request"
        ).fetchone()
        assert row is not None
        waits.append(row)
    assert waits == [(20, 2), (40, 3), (80, 4), (160, 5), (320, 6), (600, 7)]
