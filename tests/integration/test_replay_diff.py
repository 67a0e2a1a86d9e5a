"""`xinliu replay diff`: generations filled by the plain fold, held against each other down to entities, records and fields."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store import generations
from schemas.store.database import connect
from streams.projection.batch import Projection
from streams.projection.staging import staged
from tests.replay_commands import replay
from tests.statements import Statement, listing, penalty, registration, state
from tests.viewstore import WRITER, Store, decoded

SAID = [
    *(penalty(f"比{n}", entity=n, decided_on=date(2025, 6, 1)) for n in range(40)),
    listing("比L", entity=3),
    registration(entity=1),
    penalty("比F", entity=50, key="finance"),
]

END = 100
"""Where `accepted` ends, of which both have folded everything."""

Pair = tuple[Store, Store, int, int]


def filled(store: Store, statements: Sequence[Statement], first: int = 0) -> None:
    """Fold statements into a generation, in one batch with its position."""
    projection = Projection(store)
    with store.transaction():
        assert projection.writer_number(WRITER.fingerprint, WRITER.schema) == 1
        projection.fold(staged(decoded(list(statements), first))[0])
        store.execute(
            "INSERT INTO position VALUES ('accepted', 'id', 0, %(n)s)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
            {"n": first + len(statements)},
        )


@pytest.fixture
def made(own_stack: Connection) -> Iterator[Callable[..., Pair]]:
    """What makes two generations and fills them with statements."""
    database = own_stack.database.get_secret_value()
    with connect(database, autocommit=True) as owner, ExitStack() as opened:
        numbers: list[int] = []

        def make(old: Sequence[Statement], new: Sequence[Statement]) -> Pair:
            stores = []
            for statements in (old, new):
                numbers.append(generations.create(owner).number)
                store = opened.enter_context(connect(database, generation=numbers[-1], autocommit=True))
                filled(store, statements)
                store.execute("UPDATE position SET next_offset = %s", (END,))
                stores.append(store)
            return stores[0], stores[1], numbers[-2], numbers[-1]

        yield make
        opened.close()
        for number in numbers:
            generations.drop(owner, number)


def diff(stack: Connection, pair: Pair, *words: str, code: int = 1) -> Any:
    answer = replay(stack, "diff", str(pair[2]), str(pair[3]), "--json", *words)
    assert answer.code == code, answer
    return answer.told


def test_the_same_statements_in_another_order_are_equal(own_stack: Connection, made: Callable[..., Pair]) -> None:
    pair = made(SAID, SAID[::-1])
    told = diff(own_stack, pair, code=0)
    assert (told["equal"], told["entities"], told["records"], told["differing_buckets"]) == (True, [], [], 0)
    assert told["rows"] == [42, 42]  # entity 3 has a penalty and a listing in one domain
    assert "known_at and computed columns" in told["compared"]
    told = diff(own_stack, pair, "--deep", code=0)
    assert told["equal"]
    assert told["rows"] == [86, 86], "records, and their statements in history"
    assert "every column" in told["compared"]
    assert "equal" in replay(own_stack, "diff", str(pair[2]), str(pair[3])).text


def test_every_kind_of_change_is_named_down_to_the_field(own_stack: Connection, made: Callable[..., Pair]) -> None:
    new = [
        *(
            one for one in SAID if one["record_id"] not in (SAID[0]["record_id"], SAID[5]["record_id"])
        ),  # 0 goes, 5 is refused
        penalty("比1", version=2, entity=1, content="<b>改</b>"),
        penalty("比2", version=2, entity=60, original_entity=2),  # moved to another entity
        state(penalty("比4", entity=4), "REPAIRED", version=2),
        penalty("比新", entity=61),
    ]
    pair = made(SAID, new)
    five = SAID[5]
    pair[1].execute(
        "INSERT INTO replay_refused SELECT %s, version, digest_hi, digest_lo, uscc, department, 0, 5, %s"
        f" FROM g{pair[2]}.record WHERE record_id = %s",
        (five["record_id"], '[{"code": "LATE_RULE", "field": "penalty_facts"}]', five["record_id"]),
    )
    told = diff(own_stack, pair)
    changes = {one["record_id"]: one for one in told["records"]}
    by = {one["record_id"]: one["change"] for one in told["records"]}
    assert by == {
        SAID[0]["record_id"]: "DISAPPEARS", SAID[1]["record_id"]: "CHANGES", SAID[2]["record_id"]: "CHANGES",
        SAID[4]["record_id"]: "STATUS", five["record_id"]: "REFUSED", penalty("比新", entity=61)["record_id"]: "APPEARS",
    }  # fmt: skip
    assert changes[five["record_id"]]["codes"] == ["LATE_RULE"]
    assert changes[SAID[1]["record_id"]]["fields"]["penalty_content"] == ["罚款, 第1版", "<b>改</b>"]
    assert changes[SAID[2]["record_id"]]["uscc"] == [generate(2), generate(60)]
    assert told["summary"] == [
        {"domain": "tax", "department": "tax", "change": change, "n": n}
        for change, n in (("APPEARS", 1), ("CHANGES", 2), ("DISAPPEARS", 1), ("REFUSED", 1), ("STATUS", 1))
    ]
    turned = [(one["uscc"], one["was"], one["becomes"]) for one in told["entities"] if one["was"] != one["becomes"]]
    assert turned == [
        *((generate(n), "有", "无") for n in sorted((0, 2, 4, 5), key=generate)),
        *((generate(n), "无", "有") for n in sorted((60, 61), key=generate)),
    ], "whose 有 becomes 无 comes first"
    assert {(one["was"], one["becomes"], one["n"]) for one in told["turned"]} == {("有", "无", 4), ("无", "有", 2)}
    assert told["differing_buckets"] <= 7
    _forms(own_stack, pair)


def _forms(stack: Connection, pair: Pair) -> None:
    words = ("diff", str(pair[2]), str(pair[3]))
    text = replay(stack, *words, "--wide").text
    assert "有 → 无  4" in text
    assert any("REFUSED" in line and "LATE_RULE" in line for line in text.splitlines())
    rows = list(csv.DictReader(io.StringIO(replay(stack, *words, "--format", "csv").text)))
    assert sum(row["change"] == "TURNS" for row in rows) == 6
    assert [row["new"] for row in rows if row["field"] == "penalty_content" and row["change"] == "CHANGES"][-1:] != []
    page = replay(stack, *words, "--format", "page").text
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;改&lt;/b&gt;" in page
    assert "<b>改" not in page
    assert generate(61) in page
    short = replay(stack, *words, "--limit", "1").text
    assert "5 more" in short


def test_what_one_generation_has_not_come_to_yet_is_no_difference(
    own_stack: Connection, made: Callable[..., Pair]
) -> None:
    pair = made(SAID, SAID)
    more = [penalty("比1", version=2, entity=1), penalty("比迟", entity=70)]
    filled(pair[0], more, first=END)
    told = diff(own_stack, pair, code=0)
    assert (told["equal"], told["later"], told["entities"]) == (True, 2, [])
    pair[1].execute("DELETE FROM record WHERE record_id = %s", (SAID[7]["record_id"],))
    pair[1].execute("DELETE FROM credit_view WHERE uscc = %s", (generate(7),))
    told = diff(own_stack, pair)
    assert [(one["record_id"], one["change"]) for one in told["records"]] == [(SAID[7]["record_id"], "DISAPPEARS")]
    filled(pair[1], more, first=END)
    assert diff(own_stack, pair)["later"] == 0


def test_what_no_statement_says_is_found_by_deep_alone(own_stack: Connection, made: Callable[..., Pair]) -> None:
    pair = made(SAID, SAID)
    pair[1].execute(
        "UPDATE record SET known_at = known_at + %s WHERE record_id = %s", (timedelta(days=1), SAID[0]["record_id"])
    )
    pair[1].execute("ALTER TABLE record ADD COLUMN risk smallint NOT NULL DEFAULT 3")
    assert diff(own_stack, pair, code=0)["only_new"] == ["risk"]
    told = diff(own_stack, pair, "--deep")
    assert [(one["record_id"], list(one["fields"])) for one in told["records"]] == [
        (SAID[0]["record_id"], ["known_at"])
    ]
    assert told["entities"] == []


def test_another_past_of_the_same_record_is_found_by_deep_alone(
    own_stack: Connection, made: Callable[..., Pair]
) -> None:
    bad = penalty("比1", version=2, entity=1, fine=Decimal("-1"))
    now = [penalty("比1", version=3, entity=1), state(penalty("比2", entity=2), "REVOKED", version=2)]
    pair = made([*SAID, bad, *now], [*SAID, *now])
    refused, erased, later = (SAID[n]["record_id"] for n in (1, 2, 3))
    pair[1].execute(
        "INSERT INTO replay_refused SELECT %(record)s::text, version, digest_hi, digest_lo, uscc, department, 0, 5, %(why)s"
        f" FROM g{pair[2]}.record_history WHERE record_id = %(record)s::uuid AND version = %(version)s",
        {"record": refused, "version": bad["version"], "why": '[{"code": "NEGATIVE_AMOUNT"}, {"code": "ANOTHER"}]'},
    )
    pair[1].execute(
        "UPDATE record_history SET known_at = known_at + %s, statement = '\\xff' WHERE record_id = %s AND version = %s",
        (timedelta(days=1), erased, SAID[2]["version"]),
    )
    filled(
        pair[0], [penalty("比3", version=-1, entity=3)], first=END
    )  # outranked, and the other has not come to it yet
    assert diff(own_stack, pair, code=0)["equal"]

    told = diff(own_stack, pair, "--deep")
    changes = {one["record_id"]: one for one in told["records"]}
    assert {one["change"] for one in told["records"]} == {"HISTORY"}
    assert later not in changes
    assert told["entities"] == []
    assert sum(one["n"] for one in told["summary"]) == 2
    assert changes[refused]["codes"] == ["ANOTHER", "NEGATIVE_AMOUNT"]
    (was,), becomes = changes[refused]["fields"]["history"]
    assert (was["version"], was["status"], was["uscc"], becomes) == (bad["version"], "IN_FORCE", generate(1), [])
    ((was,), (becomes,)) = changes[erased]["fields"]["history"]
    assert set(was) == set(becomes) == {"version", "known_at", "statement"}
    assert was["statement"] == "ERASED", "of what was erased nothing is told"
    text = replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--deep").text
    assert "HISTORY ANOTHER, NEGATIVE_AMOUNT" in text
    page = replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--deep", "--format", "page").text
    assert "the same now, another past" in page
    rows = csv.DictReader(
        io.StringIO(replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--deep", "--format", "csv").text)
    )
    told_in_csv = {row["record_id"]: json.loads(row["old"]) for row in rows if row["field"] == "history"}
    assert told_in_csv[erased] == [was]


def test_counts_that_no_record_stands_behind_are_told(own_stack: Connection, made: Callable[..., Pair]) -> None:
    pair = made(SAID, SAID)
    pair[1].execute("UPDATE credit_view SET penalties = 0 WHERE uscc = %s", (generate(9),))
    told = diff(own_stack, pair)
    assert (told["unexplained"], told["records"]) == (1, [])
    assert [(one["uscc"], one["was"], one["becomes"], one["explained"]) for one in told["entities"]] == [
        (generate(9), "有", "无", False)
    ]
    assert "counts differ although no record does" in replay(own_stack, "diff", str(pair[2]), str(pair[3])).text


def test_a_difference_is_explained_by_the_events_behind_it(own_stack: Connection, made: Callable[..., Pair]) -> None:
    bad = {
        **penalty("比1", version=2, entity=1, fine=Decimal("-1"), decided_on=date(2025, 6, 1)),
        "reason": "CORRECTED",
    }
    pair = made([*SAID, bad], SAID)
    record = SAID[1]["record_id"]
    answer = replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--explain", record, "--json")
    assert answer.code == 1
    (told,) = json.loads(answer.text)["records"]
    first, second = told["events"]
    old, new = f"g{pair[2]}", f"g{pair[3]}"
    assert (first["held_by"], first["stands_in"], first["rules"]) == ([old, new], [new], [])
    assert (second["held_by"], second["stands_in"]) == ([old], [old])
    assert (second["partition"], second["offset"]) == (0, len(SAID))
    assert [one["code"] for one in second["rules"]] == ["NEGATIVE_AMOUNT"]
    assert second["fields"]["penalty_fine"][1] == "-1.000000"
    text = replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--explain", record).text
    assert f"accepted/0@{len(SAID)}" in text
    assert "today's rules refuse it: NEGATIVE_AMOUNT" in text
    assert replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--explain", SAID[2]["record_id"]).code == 0
    assert "has ever held" in replay(own_stack, "diff", str(pair[2]), str(pair[3]), "--explain", "0" * 32).refused


def test_generations_are_chosen_and_mistaken_ones_named(own_stack: Connection, made: Callable[..., Pair]) -> None:
    pair = made(SAID, SAID)
    with connect(own_stack.database.get_secret_value(), autocommit=True) as owner:
        assert "READY" in replay(own_stack, "diff").refused
        generations.set_state(owner, pair[3], "READY")
        told = replay(own_stack, "diff", "--json").told
        assert (told["old"], told["new"]) == ("g1", f"g{pair[3]}")
        told = replay(own_stack, "diff", str(pair[2]), "--json").told
        assert (told["old"], told["new"]) == ("g1", f"g{pair[2]}")
    assert "no generation 4711" in replay(own_stack, "diff", "4711").refused
    assert "no other than itself" in replay(own_stack, "diff", "1", "1").refused
