"""Generations beside one another, without a view worker: what the readers' views do with them, and what a switch carries over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from deploy.backup.backup import back_up, restore
from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.generations import create, drop, set_state
from schemas.store.serving_views import EXPOSED, expose
from streams.exchange.outgoing.messages import MessageBuilder
from streams.kafka.ranges import Logs
from streams.projection.serving import while_serving
from streams.replay.generations.catch_up import CatchUp
from streams.replay.generations.promotion import Promotion
from tests.generations import owner, rebuilt, receipts, serving
from tests.statements import framed, penalty, put
from tests.workers import workers

STATEMENTS = 60
BY = "tester@here"


@pytest.fixture(scope="module")
def filled(own_stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Connection:
    """A log with statements and refusals, and a first generation that has folded them."""
    with workers(own_stack, tmp_path_factory.mktemp("intake"), "intake"):
        say(own_stack, range(STATEMENTS))
    with CatchUp(own_stack, 1, silent=False) as catching:
        assert catching.to() >= STATEMENTS
    return own_stack


def say(connection: Connection, numbers: range) -> list[tuple[int, int]]:
    """Publish penalties, every tenth of them refused, and wait until intake has forwarded all; returns places of the refused."""
    before = ends(connection)
    put(connection, "records.tax", framed(connection, [penalty(f"切{n}", entity=n % 7) for n in numbers]))
    wrong = [{**penalty(f"误{n}", entity=n % 7), "domain": "nothing"} for n in numbers if n % 10 == 0]
    places = put(connection, "records.tax", framed(connection, wrong))
    assert wait_until(lambda: ends(connection) >= before + len(numbers) + len(wrong), seconds=240)
    return places


def ends(connection: Connection) -> int:
    """Return how many messages accepted and quarantine have, progress vectors among them."""
    logs = Logs(connection.kafka)
    facts = logs.describe(["accepted", "quarantine"])
    return sum(logs.ends([(topic, p) for topic, known in facts.items() for p in range(known.partitions)]).values())


@contextmanager
def reading(connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    """A reader's transaction that keeps its snapshot."""
    assert connection.reader_database is not None
    with psycopg.connect(connection.reader_database.get_secret_value()) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield reader


def one(store: psycopg.Connection[Any], query: str, *values: Any) -> Any:
    """Return the first column of a query's only row."""
    row = store.execute(query, values or None).fetchone()
    assert row is not None
    return row[0]


def test_a_point_lookup_uses_indexes_and_leaves_the_other_generation_alone(filled: Connection) -> None:
    replay, second = rebuilt(filled)
    queries = {
        "penalty": f"SELECT * FROM report.penalty WHERE uscc = '{generate(3)}'",
        "entity": f"SELECT * FROM report.entity WHERE uscc = '{generate(3)}'",
        "credit_view": f"SELECT * FROM report.credit_view WHERE uscc = '{generate(3)}'",
        "pending": f"SELECT * FROM report.pending WHERE uscc = '{generate(3)}'",
        "history": "SELECT * FROM report.history h WHERE h.record_id IN"
        f" (SELECT record_id FROM report.record_entity WHERE uscc = '{generate(3)}')",
    }
    first = serving(filled)
    for _ in range(2):
        here, there = serving(filled), {first, second} - {serving(filled)}
        with owner(filled) as store:
            store.execute("SET enable_seqscan = off")  # of sixty rows it would rather read all
            for name, query in queries.items():
                (plan,) = one(store, f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {query}")
                touched = list(scans(plan["Plan"]))
                assert {schema for schema, _, loops in touched if loops and schema.startswith("g")} == {f"g{here}"}, (
                    name
                )
                assert {kind for schema, kind, loops in touched if loops and schema.startswith("g")} <= {
                    "Index Scan", "Index Only Scan", "Bitmap Heap Scan",
                }, (name, touched)  # fmt: skip
                assert all(loops == 0 for schema, _, loops in touched if schema in {f"g{n}" for n in there}), name
        with Promotion(filled, by=BY) as promoting:
            promoting.promote(replay, "for the plans of the other one")
    with Promotion(filled, by=BY) as promoting:
        assert promoting.rollback("back").new == first


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield schema, kind and loops of every scan of a table (of the writers' schemas there is one row, whatever the plan)."""
    if plan.get("Relation Name") not in (None, "writer_schema"):
        yield plan["Schema"], plan["Node Type"], plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from scans(part)


def test_what_waits_and_what_does_not_follow_from_the_logs_goes_along(filled: Connection, tmp_path: Path) -> None:
    first = serving(filled)
    with owner(filled) as store:
        (uscc,) = {generate(3)}
        place = store.execute(
            f'SELECT topic, topic_id, partition, "offset" FROM g{first}.quarantine ORDER BY "offset" LIMIT 1'
        ).fetchone()
        assert place is not None
        store.execute(
            f"UPDATE g{first}.quarantine SET state = 'DISCARDED'"
            ' WHERE (topic, topic_id, partition, "offset") = (%s, %s, %s, %s)',
            place,
        )
        store.execute(f"DELETE FROM g{first}.outbox")
        for n in range(5):
            store.execute(
                f"INSERT INTO g{first}.outbox (kind, payload) VALUES ('CHANGES', %s)",
                (Jsonb({"uscc": [uscc], "n": n}),),
            )
        store.execute(
            f"INSERT INTO g{first}.record_difference VALUES"
            " ('tax', 'tax', 'PENALTY', gen_random_uuid(), 'MISSING', 1, NULL, '[]', NULL, NULL, 'm', now(), NULL)"
        )
        store.execute(f"INSERT INTO g{first}.receipt_sent VALUES ('records.tax', 0, 7, now())")
    replay, second = rebuilt(filled)
    with owner(filled) as store:
        assert one(store, f"SELECT count(*) FROM g{second}.outbox") == 0, "nobody is told of what is folded anew"
        store.execute(f"INSERT INTO g{second}.outbox (kind, payload) VALUES ('CHANGES', '{{}}')")
    with Promotion(filled, by=BY) as promoting:
        done = promoting.promote(replay, "a test")
    assert done.moved == 5
    with owner(filled) as store:
        rows = store.execute(f"SELECT payload ->> 'n' FROM g{second}.outbox WHERE payload ? 'n' ORDER BY id").fetchall()
        assert [n for (n,) in rows] == ["0", "1", "2", "3", "4"]
        assert one(store, f"SELECT count(*) FROM g{second}.outbox WHERE payload = '{{}}'") == 0
        assert one(store, f"SELECT count(*) FROM g{first}.outbox") == 0
        assert one(store, "SELECT state FROM serving.quarantine WHERE topic = %s AND topic_id = %s AND partition = %s"
                          ' AND "offset" = %s', *place) == "DISCARDED"  # fmt: skip
        assert one(store, "SELECT count(*) FROM report.record_difference") == 1
        assert one(store, f"SELECT next_offset FROM g{second}.receipt_sent") == 7
        assert one(store, "SELECT state FROM xinliu.replay WHERE replay = %s", replay) == "PROMOTED"
    with Promotion(filled, by=BY) as promoting:
        assert promoting.promote(str(second), "once more").resumed, "it serves already: nothing is done"
        done = promoting.rollback("back")
        assert (done.old, done.new) == (second, first)
        with pytest.raises(UsageError, match="nothing to roll back"):
            promoting.rollback("back again")
    with owner(filled) as store:
        assert one(store, "SELECT count(*) FROM report.record_difference") == 1
        assert one(store, f"SELECT count(*) FROM g{first}.outbox WHERE payload ? 'n'") == 5


def test_what_is_held_no_more_leaves_the_exchange(filled: Connection) -> None:
    first = serving(filled)
    replay, second = rebuilt(filled)
    with owner(filled) as store:
        store.execute(f"DELETE FROM g{first}.outbox")
        store.execute(
            "INSERT INTO xinliu.shared_record (record_id, department, partition, epoch, state, kind, domain, uscc, version,"
            " digest_hi, digest_lo, status)"
            " SELECT record_id, department, 3, 5, 'SHARED', kind, domain, uscc, version, digest_hi, digest_lo, status"
            f" FROM g{first}.record ORDER BY record_id LIMIT 3"
        )
        store.execute(
            "INSERT INTO xinliu.shared_digest (partition, domain, records, digest_hi, digest_lo)"
            " SELECT partition, domain, count(*), bit_xor(digest_hi), bit_xor(digest_lo) FROM xinliu.shared_record GROUP BY 1, 2"
        )
        gone, older, stays = (
            row[0] for row in store.execute("SELECT record_id FROM xinliu.shared_record ORDER BY record_id").fetchall()
        )
        # As if today's rules refused all of one record, and the newest statement of another.
        store.execute(f"DELETE FROM g{second}.record WHERE record_id = %s", (gone,))
        store.execute(f"UPDATE g{second}.record SET version = version - 1 WHERE record_id = %s", (older,))
    with Promotion(filled, by=BY) as promoting:
        assert promoting.promote(replay, "rules").withdrawn == 2
    with owner(filled) as store, Registry(filled.registry) as registry:
        states = dict(store.execute("SELECT record_id, state FROM xinliu.shared_record").fetchall())
        assert states == {gone: "WITHDRAWN", older: "WITHDRAWN", stays: "SHARED"}
        assert one(store, "SELECT sum(records) FROM xinliu.shared_digest") == 1
        framing = MessageBuilder(registry, "beijing")
        told = framing.messages(store, framing.waiting(store, 10))
        assert {str(waiting.entry.record_id).replace("-", "") for waiting, _ in told} == {gone.hex, older.hex}
        assert {waiting.entry.action for waiting, _ in told} == {"WITHDRAW"}
        assert all(message.value for _, message in told)
    with Promotion(filled, by=BY) as promoting:
        promoting.rollback("back")
    with owner(filled) as store:
        store.execute("DELETE FROM xinliu.shared_record")
        store.execute("DELETE FROM xinliu.shared_digest")
        store.execute(f"DELETE FROM g{first}.outbox")


def test_one_that_stands_beyond_waits_for_the_one_that_serves(filled: Connection, tmp_path: Path) -> None:
    first = serving(filled)
    with workers(filled, tmp_path, "intake"):
        refused = say(filled, range(1_000, 1_040))
    replay, second = rebuilt(filled)  # nobody has folded these into the one that serves
    with workers(filled, tmp_path, "intake"):
        refused += say(filled, range(2_000, 2_040))  # and these nobody has folded at all
    with Promotion(filled, by=BY) as promoting:
        done = promoting.promote(replay, "a test")
    with owner(filled) as store:
        stands = [
            dict(store.execute(f"SELECT topic || partition, next_offset FROM g{n}.position").fetchall())
            for n in (first, second)
        ]
        assert stands[0] == stands[1], "what the one that served has not told of, it had to fold first"
        assert done.moved > 0
    with workers(filled, tmp_path, "view"):
        assert wait_until(lambda: all(receipts(filled, "tax")[place] for place in refused), seconds=240)
    told = receipts(filled, "tax")
    assert {place: told[place] for place in refused} == dict.fromkeys(refused, 1)
    with Promotion(filled, by=BY) as promoting:
        promoting.rollback("back")


def test_a_switch_waits_for_whoever_speaks_for_the_generation_that_serves(filled: Connection) -> None:
    first = serving(filled)
    replay, second = rebuilt(filled)

    def promote() -> None:
        with Promotion(filled, by=BY) as promoting:
            promoting.promote(replay, "a test")

    with owner(filled) as relay, owner(filled) as other:
        with while_serving(relay, first) as ours:
            assert ours
            promoting = threading.Thread(target=promote)
            promoting.start()
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
            assert wait_until(lambda: one(other, waits), seconds=30)
            with while_serving(other, first) as meanwhile:
                assert not meanwhile, "nobody begins anything new for a generation that is being switched from"
            assert serving(filled) == first
        promoting.join(30)
        assert serving(filled) == second
        with while_serving(relay, first) as ours:
            assert not ours
        with while_serving(relay, second) as ours:
            assert ours
    with Promotion(filled, by=BY) as back:
        back.rollback("back")


def test_a_reader_that_takes_long_holds_up_no_other(filled: Connection) -> None:
    slowest = 0.0
    with reading(filled) as slow, owner(filled) as store:
        slow.execute("SELECT count(*) FROM report.penalty").fetchone()
        generation = create(store).number
        making = threading.Thread(target=set_state, args=(store, generation, "READY"))
        making.start()
        for _ in range(20):
            began = monotonic()
            with reading(filled) as quick:
                quick.execute("SELECT count(*) FROM report.penalty").fetchone()
            slowest = max(slowest, monotonic() - began)
        assert making.is_alive(), "the views cannot be replaced while one is read"
        slow.rollback()
        making.join(30)
        assert not making.is_alive()
        drop(store, generation)
    assert slowest < 1.5, f"{slowest:.2f} s"


def test_a_column_that_only_a_newer_generation_has(filled: Connection) -> None:
    with owner(filled) as store:
        generation = create(store).number
        store.execute(f"ALTER TABLE g{generation}.credit_view ADD COLUMN fines numeric(24, 6)")
        store.execute(f'ALTER TABLE g{generation}.credit_view ADD COLUMN worst text COLLATE "C"')
        set_state(store, generation, "READY")
        row = store.execute("SELECT count(*), count(fines), count(worst) FROM serving.credit_view").fetchone()
        assert row is not None
        assert row[0] > 0
        assert row[1:] == (0, 0)
        drop(store, generation)
        expose(store)
        assert one(store, "SELECT count(*) FROM serving.credit_view WHERE fines IS NULL") == row[0]


def test_a_dropped_generation_is_never_taken_for_an_empty_one(filled: Connection) -> None:
    first = serving(filled)
    replay, second = rebuilt(filled)
    with owner(filled) as store, reading(filled) as early:
        assert one(early, "SELECT count(*) FROM report.installation") >= 0  # its snapshot is of before the promote
        with Promotion(filled, by=BY) as promoting:
            promoting.promote(replay, "a test")
        with pytest.raises(UsageError, match="serves"):
            drop(store, second)
        drop(store, first)
        with pytest.raises(psycopg.Error, match=f"generation {first} was dropped while this transaction went on"):
            early.execute("SELECT count(*) FROM report.penalty")
        assert one(store, "SELECT count(*) FROM report.penalty") > 0
        with pytest.raises(UsageError, match="no generation"):
            drop(store, first)
        for relation in EXPOSED:
            text = one(store, "SELECT pg_get_viewdef(%s::regclass)", f"serving.{relation}")
            assert f"g{first}." not in text
    with Promotion(filled, by=BY) as promoting, pytest.raises(UsageError, match="was dropped: plan a rebuild"):
        promoting.rollback("back")


def test_a_backup_brings_its_generations_and_no_others(filled: Connection, tmp_path: Path) -> None:
    database, told = filled.database.get_secret_value(), list[str]()
    replay, second = rebuilt(filled)
    first = serving(filled)
    with owner(filled) as store:
        held = one(store, "SELECT count(*) FROM report.penalty")
    back_up(database, tmp_path / "backup", of="beijing", tell=told.append)
    with Promotion(filled, by=BY) as promoting:
        promoting.promote(replay, "a test")
    with owner(filled) as store:
        drop(store, first)
        later = create(store).number
        set_state(store, later, "READY")
    restore(database, tmp_path / "backup", of="beijing", tell=told.append)
    with owner(filled) as store:
        assert serving(filled) == first
        assert one(store, "SELECT count(*) FROM report.penalty") == held
        assert one(store, "SELECT to_regnamespace(%s)", f"g{later}") is None
        assert one(store, "SELECT to_regnamespace(%s)", f"g{second}") is not None
        assert create(store).number == later
