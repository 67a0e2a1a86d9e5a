"""Repairs, revocations and withdrawals that other provinces must apply: when each is due, done or overdue, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from rich.cells import cell_len
from typer.testing import CliRunner

from schemas.calendar.periods import china_day
from schemas.calendar.workdays import NoCalendar, Workdays, deadline
from schemas.catalogue import load
from schemas.errors import XinliuError
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from streams.exchange.outgoing.duties import BODILESS, Duty, duties, owe
from streams.exchange.outgoing.entries import OutboxEntry
from streams.exchange.outgoing.signed_log import WrittenCheckpoint
from streams.projection.positions import load_catalogue
from tests.commands import without_stack
from tests.examples import examples
from tests.exchange_status import OUR_TOPIC, Store, applied, exchanging, limit, publish

CHINA = ZoneInfo("Asia/Shanghai")
OTHERS = ("hebei", "shanxi", "tianjin")
NOW = datetime.now(UTC)


@pytest.fixture
def store(stack: Connection) -> Iterator[Store]:
    """Beijing's database; nothing is owed yet, and the limits are those of the catalogue."""
    with connect(stack.database.get_secret_value(), autocommit=True) as session:
        load_catalogue(session, load(), "beijing")
        session.execute("TRUNCATE xinliu.peer_heard, xinliu.peer_published, xinliu.peer_status, xinliu.exchange_duty")
        yield session
        session.execute("TRUNCATE xinliu.peer_heard, xinliu.peer_published, xinliu.peer_status, xinliu.exchange_duty")
        session.execute("TRUNCATE xinliu.published_checkpoint")
        load_catalogue(session, load(), "beijing")


def duty(number: int = 7, *, status: str = "REVOKED", partition: int = 0, sequence: int = 3, **other: Any) -> Duty:
    """Return what was published of one record."""
    known = {
        "department": "tax",
        "epoch": 0,
        "version": 2,
        "uscc": "u",
        "domain": "tax",
        "topic_id": OUR_TOPIC,
        **other,
    }
    return Duty(record_id=UUID(int=number), status=status, partition=partition, sequence=sequence, **known)


def say(store: Store, province: str, sequence: int, *, topic_id: str = OUR_TOPIC, partition: int | None = None) -> None:
    """Let a status of a province be kept that says it has applied so much of ours."""
    parts = range(4) if partition is None else [partition]
    told = [
        {**one, "origin": one["province"], "made_at": NOW.isoformat(), "applied_at": NOW.isoformat()}
        for one in applied("beijing", sequence=sequence, topic_id=topic_id, partitions=parts)
    ]
    values = {"province": province, "told_at": NOW, "received_at": NOW, "applied": Jsonb(told)}
    with store.transaction():
        store.execute(sql("exchange/status/applied"), values)
        store.execute(sql("exchange/status/acknowledged"), values)


def states(store: Store) -> dict[str, str]:
    """Return how each province stands to what it must apply; all of it stands alike."""
    return dict(store.execute("SELECT DISTINCT province, state FROM report.exchange_duty").fetchall())


def due(store: Store, province: str, published_at: datetime) -> datetime | None:
    """Return when it would be overdue."""
    row = store.execute("SELECT xinliu.exchange_due(%s, %s)", (province, published_at)).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("status", BODILESS)
def test_a_duty_is_done_when_its_checkpoint_is_held(store: Store, status: str) -> None:
    owe(store, [duty(status=status)], NOW)
    assert states(store) == dict.fromkeys(OTHERS, "OPEN")
    say(store, "tianjin", 2)
    say(store, "tianjin", 3, topic_id="of-long-ago")
    say(store, "tianjin", 3, partition=1)
    assert states(store) == dict.fromkeys(OTHERS, "OPEN"), "an earlier one, another log, another partition"
    say(store, "tianjin", 3)
    say(store, "hebei", 9)
    assert states(store) == {"tianjin": "ACKNOWLEDGED", "hebei": "ACKNOWLEDGED", "shanxi": "OPEN"}
    say(store, "tianjin", 1)  # a view that is built anew
    assert states(store)["tianjin"] == "ACKNOWLEDGED", "what was acknowledged was acknowledged"


def test_it_may_be_acknowledged_before_it_is_written_down(store: Store) -> None:
    """The statement is in the log before the transaction that says so: whoever applied it says so again and again."""
    say(store, "tianjin", 3)
    owe(store, [duty()], NOW)
    assert states(store)["tianjin"] == "OPEN"
    say(store, "tianjin", 3)
    assert states(store)["tianjin"] == "ACKNOWLEDGED"


def test_published_twice_it_is_one_duty(store: Store) -> None:
    owe(store, [duty(), duty(sequence=5)], NOW - timedelta(days=9))
    owe(store, [duty(sequence=8)], NOW)
    rows = store.execute("SELECT sequence, published_at FROM report.exchange_duty").fetchall()
    assert rows == [(3, NOW - timedelta(days=9))] * 3, "the first checkpoint is enough, and the term runs from it"
    owe(store, [duty(topic_id="made-anew", sequence=0)], NOW)
    say(store, "tianjin", 0, topic_id="made-anew")
    assert states(store)["tianjin"] == "ACKNOWLEDGED", "in a log that was made anew another checkpoint counts"
    owe(store, [duty(version=3), duty(epoch=1)], NOW)
    assert store.execute("SELECT count(*) FROM report.exchange_duty WHERE state = 'OVERDUE'").fetchone() == (2,)
    assert store.execute("SELECT count(*) FROM report.exchange_duty WHERE state = 'OPEN'").fetchone() == (6,)


def test_the_term_is_that_of_the_calendar(store: Store) -> None:
    catalogue = load()
    calendar = Workdays(catalogue.time.holidays)
    for day in calendar.days():
        for hour in (0, 16):  # UTC: 8 o'clock in China, and midnight of the next day there
            at = datetime(day.day.year, day.day.month, day.day.day, hour, tzinfo=UTC)
            term = deadline(catalogue.time.deadlines, "exchange-apply", "tianjin", china_day(at)).working_days
            try:
                last = calendar.add(china_day(at), term)
                wanted = datetime(last.year, last.month, last.day, tzinfo=CHINA) + timedelta(days=1)
            except NoCalendar:
                wanted = None
            assert due(store, "tianjin", at) == wanted, at


def test_what_nobody_can_compute_is_overdue_at_once(store: Store) -> None:
    owe(store, [duty()], datetime(2040, 1, 1, tzinfo=UTC))
    assert due(store, "tianjin", datetime(2040, 1, 1, tzinfo=UTC)) is None
    assert states(store) == dict.fromkeys(OTHERS, "OVERDUE")


def test_seconds_go_before_working_days_and_a_provinces_own_before_all(store: Store) -> None:
    limit(store, "exchange-apply", "tianjin", 5)
    owe(store, [duty()], NOW - timedelta(seconds=60))
    assert states(store) == {"tianjin": "OVERDUE", "hebei": "OPEN", "shanxi": "OPEN"}
    limit(store, "exchange-apply", "*", 50)
    owe(store, [duty(number=8)], NOW - timedelta(seconds=60))
    assert store.execute(
        "SELECT province, due_at - published_at FROM report.exchange_duty WHERE record_id = %s ORDER BY 1",
        (UUID(int=8),),
    ).fetchall() == [(one, timedelta(seconds=5 if one == "tianjin" else 50)) for one in OTHERS]
    say(store, "tianjin", 3)
    assert states(store)["tianjin"] == "ACKNOWLEDGED", "late, and done"


def test_only_what_takes_content_away_makes_a_duty() -> None:
    """Entries as exchange/outgoing/share.sql writes them; of a withdrawal the rank is that of what was shared last."""
    record = UUID(int=9).hex
    entries = [
        OutboxEntry("SHARE", 1, record, "tax", 0, 4, 1, 2, False, "u", "tax", "PENALTY", status)
        for status in ("IN_FORCE", "REPAIRED", "REVOKED")
    ]
    entries.append(OutboxEntry("WITHDRAW", 3, record, "tax", 77, 4, 1, 2, False, "u", "tax", "PENALTY", "WITHDRAWN"))
    closed = [WrittenCheckpoint(OUR_TOPIC, p, 10 + p, 100, "0" * 64, NOW) for p in (1, 3)]
    known = {"number": 9, "version": 4}
    assert duties(entries, closed) == [
        duty(**known, status="REPAIRED", partition=1, sequence=11),
        duty(**known, status="REVOKED", partition=1, sequence=11),
        duty(**known, status="WITHDRAWN", partition=3, sequence=13, epoch=77),
    ]


Event = tuple[str, int, int]
events = st.lists(
    st.one_of(
        st.tuples(st.just("owe"), st.integers(0, 3), st.integers(0, 5)),
        st.tuples(st.just("say"), st.integers(0, 2), st.integers(0, 5)),
    ),
    max_size=12,
)


@examples(40, HealthCheck.function_scoped_fixture)
@given(events)
def test_whatever_comes_first_it_is_done_exactly_when_said_to_be(store: Store, found: list[Event]) -> None:
    store.execute("TRUNCATE xinliu.exchange_duty, xinliu.peer_status")
    owed: dict[int, int] = {}
    done: set[tuple[int, str]] = set()
    for kind, who, sequence in found:
        if kind == "owe":
            owe(store, [duty(number=who, sequence=sequence)], NOW)
            owed.setdefault(who, sequence)
        else:
            say(store, OTHERS[who], sequence)
            done |= {(number, OTHERS[who]) for number, wanted in owed.items() if wanted <= sequence}
    rows = store.execute("SELECT record_id, province FROM report.exchange_duty WHERE state = 'ACKNOWLEDGED'").fetchall()
    assert {(record.int, province) for record, province in rows} == done
    assert store.execute("SELECT count(*) FROM report.exchange_duty").fetchone() == (3 * len(owed),)


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    text: str


def xinliu(connection: Connection, *words: str, columns: int = 120) -> Answer:
    """Run `xinliu exchange …` as a person would, on these servers."""
    app = without_stack("exchange")
    done = CliRunner().invoke(app, ["exchange", *words], obj=lambda: connection, env={"COLUMNS": str(columns)})
    if isinstance(done.exception, XinliuError):
        return Answer(done.exception.exit_code, done.stdout)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Answer(done.exit_code, done.stdout)


def test_duties_are_shown(stack: Connection, store: Store) -> None:
    assert xinliu(stack, "duties").code == 0
    owe(store, [duty(status=status, number=n) for n, status in enumerate(BODILESS, 1)], NOW)
    say(store, "hebei", 3)
    shown = xinliu(stack, "duties", "--open", columns=120)
    assert shown.code == 0, shown.text
    assert "hebei 已落实 3" in shown.text
    assert shown.text.count("待落实") == 6 + 2
    store.execute("UPDATE xinliu.exchange_duty SET due_at = now() WHERE province = 'shanxi'")
    found = xinliu(stack, "duties", "--open", "--json", "--province", "shanxi")
    assert found.code == 1, "something is overdue"
    told = json.loads(found.text)
    assert {(one["status"], one["state"]) for one in told["duties"]} == {(status, "OVERDUE") for status in BODILESS}
    assert told["counts"] == [{"province": "shanxi", "state": "OVERDUE", "n": 3}]


def test_the_matrix_is_shown_and_says_what_is_wrong(stack: Connection, store: Store) -> None:
    publish(store)
    for province in ("beijing", *OTHERS):
        store.execute("INSERT INTO xinliu.peer_heard VALUES (%s, 't', 1, now(), now())", (province,))
        for partition in range(4):
            store.execute("INSERT INTO xinliu.peer_published VALUES (%s, %s, 3, 30, now())", (province, partition))
        for origin in ("beijing", *OTHERS):
            if origin != province:
                for partition in range(4):
                    store.execute(
                        "INSERT INTO xinliu.peer_status VALUES (%s, %s, %s, %s, 3, 30, now(), now(), 0, '{}', NULL, now(), now())",
                        (province, origin, partition, OUR_TOPIC),
                    )
    good = xinliu(stack, "status", "--json")
    told = json.loads(good.text)
    assert (good.code, told["wrong"]) == (0, [])
    assert {cell["state"] for cell in told["cells"]} == {"EQUAL"}
    assert len(told["cells"]) == 12
    owe(store, [duty()], NOW - timedelta(days=60))
    store.execute("UPDATE xinliu.peer_status SET differs = '{tax,water}', differs_since = now() - interval '61 s'"
                  " WHERE (province, origin, partition) = ('hebei', 'shanxi', 2)")  # fmt: skip
    store.execute("UPDATE xinliu.peer_heard SET received_at = now() - interval '1 h', refusals = 2, refused_at = now(),"
                  " refusal = 'the signature of tianjin does not hold' WHERE province = 'tianjin'")  # fmt: skip
    for width in (80, 120):
        shown = xinliu(stack, "status", columns=width)
        assert shown.code == 1
        assert max(cell_len(line) for line in shown.text.splitlines() if "━" in line or "│" in line) <= width
        for text in ("静默: 天津市: 已有 1.0时", "不一致: 山西省 → 河北省: tax, water", "逾期: 北京市 → 河北省: 1 条",
                     "被拒状态: 天津市: 共 2 条"):  # fmt: skip
            assert text in shown.text.replace("\n", ""), (width, text)
    assert xinliu(stack, "status", "--json", "--watch").code == 2


def test_keys_are_exchanged_by_command(stack: Connection, tmp_path: Path) -> None:
    connection = exchanging(stack, tmp_path)

    def keys(*words: str) -> Answer:
        return xinliu(connection, "keys", *words)

    def ours() -> dict[str, str]:
        shown = keys("list", "--json")
        assert shown.code == 0, shown.text
        found = json.loads(shown.text)
        return {one["state"]: one["key_id"] for one in found if one["province"] == "beijing"}

    first = ours()["SIGNS"]
    assert keys("retire", first).code == 2, "who signs is not retired"
    made = keys("new")
    assert made.code == 0, made.text
    waiting = ours()["BELIEVED"]
    assert keys("use", waiting, "--dry-run").code == 0
    assert ours()["SIGNS"] == first
    assert keys("use", waiting).code == 0
    assert keys("retire", first, "--until", "2026-11-25T12:00:00+0800").code == 0
    assert ours() == {"SIGNS": waiting, "RETIRED" if datetime(2026, 11, 25, 4, tzinfo=UTC) < NOW else "BELIEVED": first}
    assert keys("new", "--use").code == 0
    assert [
        keys(*words).code for words in (("use", "ffffffff"), ("retire", "ffffffff"), ("new", "--algorithm", "rsa"))
    ] == [2] * 3
    assert xinliu(stack, "keys", "list").code == 2, "this province shares nothing"
