"""A province that may not have heard yet where an entity is registered: its part says no 无."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from consumers.report.mutual import read_mutual_in
from streams.exchange.incoming.checkpoints import Applied, reflect
from tests.foreign import fold, foreign
from tests.integration.test_mutual_store import CODE, NOW, healthy, stack
from tests.statements import Statement, registration

__all__ = ["healthy", "stack"]

Store = psycopg.Connection[Any]
FAR = CODE[:2] + "44" + CODE[4:]
"""An entity whose code says that it was first registered in none of the four."""


def heard(store: Store, made_at: datetime, applied_at: datetime, *, sequence: int = 5) -> None:
    """Let Hebei say up to which of our checkpoints it has applied what we share, and apply a checkpoint of it."""
    store.execute(
        'INSERT INTO xinliu.peer_status (province, origin, partition, topic_id, sequence, "offset", made_at, applied_at,'
        " behind, differs, told_at, received_at) VALUES ('hebei', 'beijing', 0, 't', %s, 0, %s, %s, 0, '{}', now(), now())"
        " ON CONFLICT (province, origin, partition) DO UPDATE SET sequence = excluded.sequence,"
        " made_at = excluded.made_at, applied_at = excluded.applied_at",
        (sequence, made_at, applied_at),
    )
    reflect(store, [Applied("hebei", 0, "t", 1, 0, NOW, compared=True)])


def tell(store: Store, statement: Statement, changed_at: datetime, *, incomplete: int | None = None) -> None:
    """Share a registration at a time, and publish a checkpoint."""
    fold(store, [statement], first_offset=int(changed_at.timestamp()) % 1000)
    store.execute(
        "INSERT INTO xinliu.shared_record VALUES (%s, %s, 0, 1, 'SHARED', 'REGISTRATION', 'registration', %s, %s, 0, 0,"
        " 'IN_FORCE', %s) ON CONFLICT (record_id, department) DO UPDATE SET changed_at = excluded.changed_at",
        (
            statement["record_id"],
            statement["department"],
            statement["subject"]["uscc"],
            statement["version"],
            changed_at,
        ),
    )
    store.execute(
        "INSERT INTO xinliu.published_checkpoint VALUES (0, 't', 5, 0, '', %s, %s)"
        " ON CONFLICT (partition) DO UPDATE SET incomplete = excluded.incomplete",
        (changed_at, incomplete),
    )


def why(store: Store, uscc: str) -> str | None:
    """Return why Hebei's word does not hold."""
    store.row_factory = dict_row
    found = read_mutual_in(store, uscc)
    store.row_factory = tuple_row
    states = {one.state for one in found.states if one.province == "hebei"}
    (reason,) = {one.why for one in found.states if one.province == "hebei"}
    assert states == {"未归集" if reason else "无"}
    return reason


def test_a_province_that_may_not_know_where_an_entity_is_registered_does_not_say_no(healthy: Store) -> None:
    told = NOW - timedelta(minutes=10)
    tell(healthy, registration(uscc=FAR), told)
    assert why(healthy, FAR) == "UNAWARE"
    for step, (made, applied, spoke, expected) in enumerate(
        (
            # It has applied a checkpoint of ours from before, and spoken since.
            (told, told, told + timedelta(minutes=1), "UNAWARE"),
            (told + timedelta(seconds=31), told + timedelta(minutes=2), told + timedelta(minutes=1), "UNAWARE"),
            # Applied, but it has not spoken since, or may have looked before.
            (told + timedelta(minutes=4), told + timedelta(minutes=4), told + timedelta(seconds=150), "UNAWARE"),
            (told + timedelta(minutes=4), told + timedelta(minutes=4), told + timedelta(minutes=3), None),
        )
    ):
        healthy.execute("UPDATE foreign_domain SET made_at = %s WHERE province = 'hebei'", (spoke,))
        heard(healthy, made, applied)
        assert why(healthy, FAR) == expected, step
    tell(healthy, registration(uscc=FAR, version=2, name="新名称"), NOW - timedelta(minutes=4))
    assert why(healthy, FAR) == "UNAWARE", "stated anew"


def test_what_the_code_says_already_needs_nobody_to_hear_of_it(healthy: Store) -> None:
    tell(healthy, registration(uscc=CODE), NOW)
    assert why(healthy, CODE) is None
    there = foreign(registration(uscc=CODE, province="hebei", since=date(2010, 1, 1), until=date(2014, 1, 1)), "hebei")
    fold(healthy, [there], first_offset=500)
    assert why(healthy, CODE) == "UNAWARE", "Hebei may think that it has left"


def test_a_checkpoint_of_ours_that_left_something_waiting_proves_nothing(healthy: Store) -> None:
    told = NOW - timedelta(minutes=10)
    tell(healthy, registration(uscc=FAR), told, incomplete=5)
    for minutes in (1, 2, 3, 4):
        heard(healthy, told + timedelta(minutes=minutes), told + timedelta(minutes=minutes))
        assert why(healthy, FAR) == "UNAWARE"
    for minutes in (5, 6, 7):
        heard(healthy, told + timedelta(minutes=minutes), told + timedelta(minutes=minutes), sequence=6)
    assert why(healthy, FAR) is None
