"""Databases of an earlier revision: `migrate` brings them, with what they hold, to the tables and views of today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local.stack import Stack
from schemas.errors import UsageError
from schemas.servers.connection import Connection
from schemas.store.database import migrate
from schemas.store.definitions import SHIPPED, differences
from tests.shipped import written

EARLIER = Path(__file__).parents[1] / "data" / "revision_0011.sql"
SHAPE = """
SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema IN ('xinliu', 'g1', 'report') ORDER BY 1, 2, 3
"""
ROUTINES = """
SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('xinliu', 'g1', 'report') ORDER BY 1, 2, 3
"""
INDEXES = "SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname IN ('xinliu', 'g1') ORDER BY 1, 2"
CONSTRAINTS = """
SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace IN ('xinliu'::regnamespace, 'g1'::regnamespace) AND contype <> 'n' ORDER BY 1, 2, 3
"""
OPTIONS = """
SELECT c.oid::regclass::text, option FROM pg_class c, unnest(c.reloptions) option
WHERE c.relnamespace IN ('xinliu'::regnamespace, 'g1'::regnamespace) AND option LIKE 'autovacuum%' ORDER BY 1, 2
"""
RECORD = """
INSERT INTO g1.record (record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind,
    province, domain, department, authority, stated_at, known_at, penalty_document_number, penalty_decided_on)
VALUES ('00000000-0000-0000-0000-000000000001', 1, 2, 3, 'PENALTY', 'IN_FORCE', 'PUBLISHED', '91110000M00000000W', '甲公司',
    '法人及非法人组织', 'beijing', 'tax', 'tax', '11110000M0001017XK', now(), now(), '京税罚〔2025〕1号', '2025-09-01')
"""


@pytest.fixture
def databases(stack: Connection, local_stack: Stack) -> Iterator[tuple[str, str]]:
    """An empty database, and one as revision 0011 left it, with a record."""
    names = ("of_today", "of_yesterday")
    owner = local_stack.postgres.conninfo("postgres", "postgres")
    with psycopg.connect(owner, autocommit=True) as server:
        for name in names:
            server.execute(f"CREATE DATABASE {name} OWNER xinliu")
        today, yesterday = (local_stack.postgres.conninfo("xinliu", name) for name in names)
        with psycopg.connect(yesterday) as earlier:
            earlier.execute(EARLIER.read_text(encoding="utf-8"))
            earlier.execute(RECORD)
        yield today, yesterday
        for name in names:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    "query",
    [SHAPE, ROUTINES, INDEXES, CONSTRAINTS, OPTIONS],
    ids=["shape", "routines", "indexes", "constraints", "options"],
)
def test_an_earlier_database_becomes_what_a_new_one_is(databases: tuple[str, str], query: str) -> None:
    found = []
    for database in databases:
        migrate(database)
        with psycopg.connect(database) as connection:
            found.append(connection.execute(query).fetchall())
    assert found[1] == found[0] != []


def test_both_are_what_was_shipped(databases: tuple[str, str]) -> None:
    for database in databases:
        migrate(database)
        with psycopg.connect(database, autocommit=True) as connection:
            assert differences(connection) == []
    assert SHIPPED.read_text(encoding="utf-8") == written(databases[0]), "python -m tests.shipped writes it anew"


def test_a_revision_that_is_not_known_is_left_alone(databases: tuple[str, str]) -> None:
    _, yesterday = databases
    with psycopg.connect(yesterday) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0010'")
    with pytest.raises(UsageError, match="of revision 0010, which this version of xinliu does not know"):
        migrate(yesterday)
    with psycopg.connect(yesterday) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0010",)


def test_what_it_holds_stays_and_is_read_as_before(databases: tuple[str, str]) -> None:
    _, yesterday = databases
    migrate(yesterday)
    migrate(yesterday)  # once more changes nothing
    with psycopg.connect(yesterday) as connection:
        row = connection.execute("SELECT document_number, decided_on::text FROM report.penalty").fetchone()
    assert row == ("京税罚〔2025〕1号", "2025-09-01")
