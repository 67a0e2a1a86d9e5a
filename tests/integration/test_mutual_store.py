"""互认版 on the store alone: 无 only where a province's word holds, and SQL, Python, a day and a token say the same."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row, tuple_row

from consumers.report.credit_view import read_in
from consumers.report.mutual import MutualState, MutualView, ServedElsewhere, read_mutual_in
from consumers.report.registration import registered_at
from consumers.report.token import Moment
from schemas.calendar.periods import china_day
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from tests.foreign import checkpoint, fold, foreign, refuse, vouch, wait_elsewhere
from tests.statements import listing, penalty, registration, state

Store = psycopg.Connection[Any]
ENTITY, CODE = 41, generate(41)
OTHERS = ("tianjin", "hebei", "shanxi")
NOW = datetime.now(UTC).replace(microsecond=0)
RECENT = china_day(NOW) - timedelta(days=30)


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own: its entities have no other records."""
    return own_stack


def asked(undone: Store, **what: Any) -> MutualView:
    """Return what a reader is told."""
    undone.row_factory = dict_row
    try:
        return read_mutual_in(undone, CODE, **what)
    finally:
        undone.row_factory = tuple_row


def cell(view: MutualView, province: str, domain: str = "tax") -> MutualState:
    """Return one cell."""
    (found,) = (one for one in view.states if (one.province, one.domain) == (province, domain))
    return found


def states(view: MutualView, domain: str = "tax") -> dict[str, str]:
    """Return what the provinces say of a domain."""
    return {one.province: one.state for one in view.states if one.domain == domain}


def told(view: MutualView) -> MutualView:
    """Return an answer without what a token cuts: the time of reading to the millisecond, sources that never vouched."""
    return replace(view, moment=replace(view.moment, read_at=NOW, data_as_of={}))


@pytest.fixture
def healthy(undone: Store) -> Store:
    """All four have just vouched for everything, nothing is held."""
    vouch(undone, NOW - timedelta(seconds=1))
    for province in OTHERS:
        checkpoint(undone, province, data_as_of=NOW - timedelta(minutes=1), made_at=NOW)
    return undone


def test_a_province_answers_for_its_part_alone(healthy: Store) -> None:
    fold(
        healthy,
        [
            penalty("京1号", entity=ENTITY, decided_on=RECENT),
            foreign(penalty("冀1号", entity=ENTITY, decided_on=RECENT), "hebei"),
            foreign(listing("冀2号", entity=ENTITY, listed_on=RECENT), "hebei"),
        ],
    )
    view = asked(healthy)
    assert states(view) == {"beijing": "有", "tianjin": "无", "hebei": "有", "shanxi": "无"}
    assert {one.state for one in view.states if one.domain != "tax"} == {"无"}
    assert len({one.domain for one in view.states}) == 17
    assert [one.province for one in view.states if one.domain == "tax"] == ["beijing", "tianjin", "hebei", "shanxi"]
    assert (cell(view, "hebei").penalties, cell(view, "hebei").listings) == (1, 1)
    assert {(row["province"], row["document_number"]) for row in view.penalties} == {
        ("beijing", "京1号"),
        ("hebei", "冀1号"),
    }
    assert cell(view, "hebei", "market").data_as_of == NOW - timedelta(minutes=1)
    assert cell(view, "beijing").data_as_of == NOW - timedelta(seconds=1)


def test_the_own_edition_counts_what_the_province_itself_holds(healthy: Store) -> None:
    fold(healthy, [foreign(penalty("冀1号", entity=ENTITY, decided_on=RECENT), "hebei")])
    wait_elsewhere(healthy, "hebei", CODE, market=1)
    refuse(healthy, 7, CODE, topic="exchange.hebei", domain="finance")
    healthy.row_factory = dict_row
    today = read_in(healthy, CODE)
    again = read_in(healthy, CODE, moment=Moment.from_token(today.moment.to_token()))
    on = read_in(healthy, CODE, on=china_day(NOW))
    for view in (today, again, on):
        assert {line.state for line in view.domains} == {"无"}
        assert (view.penalties, view.registered.waiting) == ((), 0)
    counted = "SELECT count(*) AS n FROM report.{} WHERE uscc = %s"
    for name, expected in {
        "penalty": 0,
        "mutual_penalty": 1,
        "pending": 0,
        "penalty_today": 0,
        "foreign_pending": 2,
    }.items():
        row = healthy.execute(counted.format(name), (CODE,)).fetchone()
        assert row == {"n": expected}, name
    healthy.row_factory = tuple_row


BREAKS = {
    "UNKNOWN": [
        "DELETE FROM applied_checkpoint WHERE province = 'hebei'",
        "DELETE FROM foreign_domain WHERE (province, domain) = ('hebei', 'tax')",
        "INSERT INTO position VALUES ('accepted', 'id-of-accepted', 1, 1)",
        # A later checkpoint that does not speak of the domain any more.
        "UPDATE foreign_domain SET sequence = 2 WHERE province = 'hebei' AND domain <> 'tax'",
    ],
    "DIFFERS": [
        "UPDATE foreign_domain SET held_lo = 1 WHERE (province, domain) = ('hebei', 'tax')",
        "INSERT INTO row_difference (relation, province, difference, found_at) VALUES ('record', 'hebei', 'MISSING', now())",
    ],
    "SOURCE": ["UPDATE foreign_domain SET data_as_of = NULL WHERE (province, domain) = ('hebei', 'tax')"],
    "SILENT": [
        "UPDATE foreign_domain SET made_at = now() - interval '24 hours 1 second' WHERE province = 'hebei'",
        "UPDATE foreign_domain SET checked_at = now() - interval '24 hours 1 second' WHERE province = 'hebei'",
        "TRUNCATE xinliu.silence",
    ],
    "NOT_SHARED": ["UPDATE xinliu.mutual_domain SET effective_to = now()::date - 10 WHERE domain = 'tax'"],
    None: ["UPDATE foreign_domain SET made_at = now() - interval '24 hours' WHERE province = 'hebei'"],
}


@pytest.mark.parametrize(("why", "change"), [(why, change) for why, changes in BREAKS.items() for change in changes])
def test_a_word_that_does_not_hold_is_never_a_no(healthy: Store, why: str | None, change: str) -> None:
    healthy.execute(change)
    day = china_day(NOW) - timedelta(days=20)
    view = asked(healthy, window_to=day if why == "NOT_SHARED" else None)
    found = cell(view, "hebei")
    assert (found.state, found.why) == ("未归集" if why else "无", why)
    if why is not None and why != "SILENT":
        fold(healthy, [foreign(penalty("冀1号", entity=ENTITY, decided_on=day), "hebei")])
        assert cell(asked(healthy, window_to=day), "hebei").state == "有", (
            "what is held is said, whatever its province says"
        )


def test_data_as_of_is_never_later_than_the_checkpoint(healthy: Store) -> None:
    healthy.execute("UPDATE foreign_domain SET data_as_of = %s WHERE province = 'hebei'", (NOW + timedelta(hours=1),))
    assert cell(asked(healthy), "hebei").data_as_of == NOW


def test_refused_there_or_here_is_never_a_no(healthy: Store) -> None:
    wait_elsewhere(healthy, "hebei", CODE, tax=2, registration=1)
    refuse(healthy, 1, CODE, topic="exchange.shanxi", domain="market")
    refuse(healthy, 2, CODE, topic="exchange.tianjin", domain=None)
    refuse(healthy, 3, CODE)
    view = asked(healthy)
    assert states(view) == {"beijing": "待核", "tianjin": "待核", "hebei": "待核", "shanxi": "无"}
    assert states(view, "market") == {"beijing": "无", "tianjin": "待核", "hebei": "无", "shanxi": "待核"}
    assert (cell(view, "hebei").pending, view.registrations_waiting) == (2, {"hebei": 1})


def test_what_was_refused_here_and_names_no_entity_holds_its_province_back(healthy: Store) -> None:
    refuse(healthy, 1, None, topic="exchange.hebei", domain=None, received_at=NOW - timedelta(hours=2))
    view = asked(healthy)
    assert (cell(view, "hebei").state, cell(view, "hebei").data_as_of) == ("无", NOW - timedelta(hours=2))
    assert cell(view, "shanxi").data_as_of == NOW - timedelta(minutes=1)
    refuse(healthy, 2, None, topic="exchange.hebei", domain=None, received_at=NOW - timedelta(hours=25))
    assert {one.state for one in asked(healthy).states if one.province == "hebei"} == {"未归集"}


def test_repaired_revoked_and_withdrawn_are_gone(healthy: Store) -> None:
    held = foreign(penalty("冀1号", entity=ENTITY, decided_on=RECENT), "hebei")
    for number, status in enumerate(("REPAIRED", "REVOKED", "WITHDRAWN")):
        one = {**held, "record_id": f"{number:032x}"}
        fold(healthy, [one, state(one, status, version=2)], first_offset=10 * number)
    view = asked(healthy)
    assert (states(view)["hebei"], view.penalties) == ("无", ())


def test_served_where_it_is_registered_now(healthy: Store) -> None:
    assert asked(healthy).registered.province_source == "CODE"
    fold(healthy, [registration(uscc=CODE, since=date(2015, 1, 1))])
    assert asked(healthy).registered.province_source == "REGISTRY"
    fold(
        healthy, [foreign(registration(uscc=CODE, province="hebei", since=date(2024, 5, 1)), "hebei")], first_offset=10
    )
    contested = asked(healthy).registered
    assert (contested.province, [one["province"] for one in contested.contested]) == ("beijing", ["hebei"])
    fold(healthy, [registration(uscc=CODE, version=2, since=date(2015, 1, 1), until=date(2024, 5, 1))], first_offset=15)
    with pytest.raises(ServedElsewhere, match=r"河北省.*2024-05-01") as refused:
        asked(healthy)
    assert (refused.value.province, refused.value.since, refused.value.exit_code) == ("hebei", date(2024, 5, 1), 1)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r"hebei.*2024-05-01"), healthy.transaction():
        healthy.execute("SELECT * FROM report.mutual_state(%s, %s, %s)", (CODE, RECENT, china_day(NOW)))
    fold(healthy, [registration(uscc=CODE, version=3, since=date(2025, 1, 1))], first_offset=20)
    assert asked(healthy).served_by == "beijing", "it came back"


@pytest.mark.parametrize(
    ("division", "until", "message"),
    [
        ("44", None, "四省市均不提供"),
        ("10", None, "四省市均不提供"),
        ("13", None, "河北省.*首次登记地"),
        ("11", -1, "已于.*终止"),
        ("11", 0, "已于.*终止"),
    ],
)
def test_refused_elsewhere(healthy: Store, division: str, until: int | None, message: str) -> None:
    code = CODE[:2] + division + CODE[4:]
    if until is not None:
        fold(healthy, [registration(uscc=code, until=china_day(NOW) + timedelta(days=until))])
    healthy.row_factory = dict_row
    with pytest.raises(ServedElsewhere, match=message):
        read_mutual_in(healthy, code)
    place = healthy.execute("SELECT * FROM report.mutual_place(%s)", (code,)).fetchone()
    assert place is not None
    assert not place["here"]
    healthy.row_factory = tuple_row


def test_a_token_gives_the_same_again_whatever_came_since(healthy: Store) -> None:
    fold(healthy, [foreign(penalty("冀1号", entity=ENTITY, decided_on=RECENT), "hebei"), registration(uscc=CODE)])
    wait_elsewhere(healthy, "shanxi", CODE, market=1)
    healthy.execute("UPDATE foreign_domain SET data_as_of = NULL WHERE (province, domain) = ('tianjin', 'fire')")
    before = asked(healthy)
    moment = Moment.from_token(before.moment.to_token())
    assert moment.mutual == before.moment.mutual
    fold(
        healthy,
        [
            foreign(penalty("冀3号", entity=ENTITY, decided_on=RECENT), "hebei"),
            foreign(registration(uscc=CODE, province="hebei", since=date(2025, 1, 1)), "hebei"),
        ],
        first_offset=2_000_000,
    )
    wait_elsewhere(healthy, "hebei", CODE, tax=3)
    healthy.execute("TRUNCATE applied_checkpoint, foreign_domain")
    again = asked(healthy, moment=moment)
    assert told(again) == told(before)
    with pytest.raises(UsageError, match="no 互认版 of this entity"):
        healthy.row_factory = dict_row
        read_mutual_in(healthy, generate(1), moment=moment)
    with pytest.raises(UsageError, match="--edition mutual"):
        read_in(healthy, CODE, moment=moment)
    own = read_in(healthy, CODE).moment
    with pytest.raises(UsageError, match="no 互认版"):
        read_mutual_in(healthy, CODE, moment=own)
    healthy.row_factory = tuple_row


def model(facts: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Say plainly what every cell has to be."""
    return {
        place: "有" if one["records"] else "待核" if one["waiting"] else "无" if one["vouched"] else "未归集"
        for place, one in facts.items()
    }


@pytest.mark.parametrize("seed", range(15))
def test_any_state_of_the_four_is_read_alike_by_sql_a_day_and_a_token(undone: Store, seed: int) -> None:
    chance = random.Random(seed)
    mutual = sorted(d for (d,) in undone.execute("SELECT domain FROM xinliu.mutual_domain").fetchall())
    provinces = ("beijing", *OTHERS)
    facts = {
        (province, domain): {
            "records": chance.random() < 0.2, "waiting": chance.random() < 0.2, "vouched": chance.random() < 0.6
        }
        for province in provinces for domain in mutual
    }  # fmt: skip
    sources = undone.execute("SELECT domain, department FROM xinliu.domain_source ORDER BY 1, 2").fetchall()
    department = {domain: key for domain, key in sources}
    vouch(undone, NOW, [key for domain, key in sources if domain in mutual and facts["beijing", domain]["vouched"]])
    stated = []
    for number, ((province, domain), one) in enumerate(facts.items()):
        if one["records"]:
            key = department[domain]
            made = penalty(f"{number}号", entity=ENTITY, key=key, decided_on=china_day(NOW)) | {"domain": domain}
            stated.append(made if province == "beijing" else foreign(made, province))
        if one["waiting"] and province == "beijing":
            refuse(undone, number, CODE, topic=f"records.{department[domain]}", domain=domain)
    fold(undone, stated)
    for province in OTHERS:
        speaks = [domain for domain in mutual if facts[province, domain]["vouched"] or chance.random() < 0.5]
        checkpoint(undone, province, speaks, data_as_of=NOW, made_at=NOW)
        for domain in speaks:
            if not facts[province, domain]["vouched"]:
                broken = chance.choice(
                    ("held_records = 5", "data_as_of = NULL", "made_at = made_at - interval '2 days'")
                )
                undone.execute(
                    f"UPDATE foreign_domain SET {broken} WHERE (province, domain) = (%s, %s)", (province, domain)
                )
        wait_elsewhere(undone, province, CODE, **{d: 1 for d in mutual if facts[province, d]["waiting"]})
    expected = model(facts)
    today = asked(undone)
    assert {(one.province, one.domain): one.state for one in today.states} == expected
    again = asked(undone, moment=Moment.from_token(today.moment.to_token()))
    assert told(again) == told(today)
    day = asked(undone, on=china_day(NOW))
    assert {(one.province, one.domain): one.state for one in day.states} == expected
    plain = [asdict(replace(one, data_as_of=None)) for one in day.states]
    assert plain == [asdict(replace(one, data_as_of=None)) for one in today.states]
    undone.row_factory = dict_row
    own = {line.domain: line.state for line in read_in(undone, CODE).domains if line.domain in mutual}
    undone.row_factory = tuple_row
    assert own == {domain: found for (province, domain), found in expected.items() if province == "beijing"}


@pytest.mark.parametrize("of_ours", [{}, {"until": RECENT}], ids=["open", "ended"])
@pytest.mark.parametrize(
    "claims",
    [
        [("tianjin", {"since": RECENT})],
        [("tianjin", {"since": date(1900, 1, 1)})],
        [("tianjin", {"since": RECENT, "until": RECENT})],
        [("tianjin", {"since": date(2999, 1, 1)})],
        [("tianjin", {"since": date(2015, 3, 2)}), ("hebei", {"since": RECENT + timedelta(days=1)})],
        [
            ("shanxi", {"since": RECENT, "until": date(2999, 1, 1)}),
            ("hebei", {"since": date(2016, 1, 1), "until": RECENT}),
        ],
    ],
    ids=["later", "oldest", "ended", "to come", "two", "stays"],
)
def test_sql_and_python_say_the_same_of_every_claim_and_ours_stands_while_it_is_open(
    healthy: Store, of_ours: dict[str, Any], claims: list[tuple[str, dict[str, Any]]]
) -> None:
    ours = registration(uscc=CODE, since=date(2015, 3, 2), name="本省所载", **of_ours)
    theirs = [
        foreign(registration(uscc=CODE, province=one, name="他省所称", version=9, **of), one) for one, of in claims
    ]
    fold(healthy, [ours, *theirs])
    rows = healthy.execute(
        "SELECT province, current, contested FROM report.registration WHERE uscc = %s", (CODE,)
    ).fetchall()
    shown = {province: (current, contested) for province, current, contested in rows}
    healthy.row_factory = dict_row
    found = healthy.execute("SELECT * FROM report.registration WHERE uscc = %s", (CODE,)).fetchall()
    (entity,) = healthy.execute("SELECT * FROM report.entity WHERE uscc = %s", (CODE,)).fetchall()
    who = registered_at(healthy, CODE, read_in(healthy, CODE).moment, found, (None, None))
    healthy.row_factory = tuple_row
    contesting = {one["province"] for one in who.contested}
    assert shown == {one["province"]: (one["current"], one["province"] in contesting) for one in who.registrations}
    assert (entity["province"], entity["since"], entity["contested"]) == (who.province, who.since, bool(contesting))
    if not of_ours:
        assert (who.province, who.name) == ("beijing", "本省所载")
        assert bool(contesting) == (claims[0][1]["since"].year < 2999)
    moves = healthy.execute("SELECT from_province, to_province FROM report.move WHERE uscc = %s", (CODE,)).fetchall()
    assert moves == [(one.from_province, one.to_province) for one in who.moves]


SETTLED = (
    'INSERT INTO xinliu.audit (topic, sequence, topic_id, "offset", event_id, kind, by, at, reason, detail, message, previous, hash)'
    " VALUES (%s, %s, %s, %s, %s, 'REGISTRATION_SETTLED', 'x@desk', %s, '', %s, '', '', '')"
)


def test_of_several_operators_the_latest_decision_holds_and_no_worker_decides(healthy: Store) -> None:
    fold(healthy, [
        registration(uscc=CODE, since=date(2015, 1, 1)),
        *(foreign(registration(uscc=CODE, province=one, since=date(2024, 5, 1)), one) for one in ("hebei", "shanxi")),
    ])  # fmt: skip
    # Sequences count within a topic: an earlier word of whoever says much is not the last one.
    for topic, sequence, hours, province in (
        ("operations.zhang", 900, -3, "shanxi"),
        ("operations.li", 901, -2, "hebei"),
        ("operations.wang", 1, -1, "hebei"),
        ("operations.workers", 902, 0, "shanxi"),
        ("operations.steward", 903, 0, "shanxi"),
        ("operations.zhang", 904, 9, "beijing"),
    ):
        detail = f'{{"uscc": "{CODE}", "province": "{province}"}}'
        place = (topic, sequence, f"test-{topic}", sequence, f"{topic}-{sequence}")
        healthy.execute(SETTLED, (*place, NOW + timedelta(hours=hours), detail))
    current = "SELECT province FROM report.registration WHERE uscc = %s AND current"
    assert healthy.execute(current, (CODE,)).fetchall() == [("hebei",)]
    healthy.row_factory = dict_row
    found = healthy.execute("SELECT * FROM report.registration WHERE uscc = %s", (CODE,)).fetchall()
    assert registered_at(healthy, CODE, read_in(healthy, CODE).moment, found, (None, None)).province == "hebei"
    healthy.row_factory = tuple_row
