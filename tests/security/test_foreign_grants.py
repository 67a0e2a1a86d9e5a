"""Rights of every kind that nobody declared are named by `access plan` and gone after `access apply` (F9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.store.grants import foreign
from tests.secure import Secure, xinliu

Superuser = psycopg.Connection[Any]

GRANTS: dict[str, tuple[str, str]] = {
    "a schema for everybody": ("GRANT USAGE ON SCHEMA g1 TO PUBLIC", "PUBLIC: USAGE schema g1"),
    "a table for everybody": ("GRANT SELECT ON g1.quarantine TO PUBLIC", "PUBLIC: SELECT table g1.quarantine"),
    "a column": ("GRANT UPDATE (planned_by) ON xinliu.replay TO xinliu_operator", "xinliu_operator: UPDATE table xinliu.replay (planned_by)"),
    "a column for everybody": ("GRANT SELECT (value) ON g1.quarantine TO PUBLIC", "PUBLIC: SELECT table g1.quarantine (value)"),
    "a sequence": ("GRANT UPDATE ON SEQUENCE g1.outbox_id_seq TO xinliu_reader", "xinliu_reader: UPDATE sequence g1.outbox_id_seq"),
    "to give on": ("GRANT SELECT ON report.penalty TO xinliu_reader WITH GRANT OPTION", "xinliu_reader: SELECT table report.penalty to give on"),
    "another role": ("GRANT DELETE ON g1.record TO registry", "registry: DELETE table g1.record"),
    "the database": ("GRANT CREATE ON DATABASE xinliu TO xinliu_reader", "xinliu_reader: CREATE database xinliu"),
    "the database for everybody": ("GRANT CONNECT ON DATABASE xinliu TO PUBLIC", "PUBLIC: CONNECT database xinliu"),
    "the schema public": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "PUBLIC: CREATE schema public"),
    "what will be made": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE xinliu IN SCHEMA xinliu GRANT SELECT ON TABLES TO xinliu_reader",
        "xinliu_reader: SELECT on all tables that xinliu will make in xinliu",
    ),
    "what will be made anywhere": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE xinliu GRANT UPDATE ON SEQUENCES TO PUBLIC",
        "PUBLIC: UPDATE on all sequences that xinliu will make",
    ),
    "a membership": ("GRANT xinliu_worker TO xinliu_reader", "xinliu_reader: member of xinliu_worker"),
    "a membership of everything": ("GRANT pg_read_all_data TO xinliu_reader", "xinliu_reader: member of pg_read_all_data"),
    "an attribute": ("ALTER ROLE xinliu_operator CREATEROLE", "xinliu_operator: createrole"),
    "an attribute beside row security": ("ALTER ROLE xinliu_reader BYPASSRLS", "xinliu_reader: bypassrls"),
    "another login": ("CREATE ROLE mallory LOGIN", "mallory: login"),
    "another superuser": ("CREATE ROLE root_too SUPERUSER LOGIN", "root_too: login"),
    "where names are looked for": ("ALTER ROLE xinliu_reader SET search_path = public", "xinliu_reader: begins with search_path=public"),
    "where all look for names": ("ALTER DATABASE xinliu SET search_path = public", "PUBLIC: begins with search_path=public"),
    "an owner": ("ALTER TABLE xinliu.silence OWNER TO xinliu_operator", "xinliu_operator: owns TABLE xinliu.silence"),
    "a function with its owner's rights": (
        "CREATE FUNCTION report.leak() RETURNS SETOF xinliu.audit LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM xinliu.audit'",
        "PUBLIC: rights of postgres by routine report.leak()",
    ),
    "a table of PostgreSQL": ("GRANT SELECT ON pg_catalog.pg_authid TO xinliu_reader", "xinliu_reader: SELECT table pg_authid"),
    "a function of PostgreSQL": (
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO PUBLIC",
        "PUBLIC: EXECUTE routine pg_read_file(text)",
    ),
    "a setting": ("GRANT SET ON PARAMETER session_replication_role TO xinliu_worker", "xinliu_worker: SET parameter session_replication_role"),
    "a language": ("GRANT USAGE ON LANGUAGE plpgsql TO xinliu_reader", "xinliu_reader: USAGE language plpgsql"),
}  # fmt: skip


@pytest.fixture(scope="module")
def superuser(secure: Secure) -> Iterator[Superuser]:
    """A connection of the server's administrator."""
    with psycopg.connect(secure.stack.postgres.conninfo("postgres", "xinliu"), autocommit=True) as connection:
        yield connection
        for role in ("mallory", "root_too"):
            connection.execute(f"DROP ROLE IF EXISTS {role}")


def test_nothing_is_named_where_nothing_was_given(superuser: Superuser) -> None:
    assert foreign(superuser) == []


@pytest.mark.parametrize(("given", "told"), GRANTS.values(), ids=GRANTS.keys())
def test_each_is_named(superuser: Superuser, given: str, told: str) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(given)  # type: ignore[call-overload]
        assert told in map(str, foreign(superuser))


def test_the_plan_names_all_and_apply_takes_all_away(secure: Secure, superuser: Superuser) -> None:
    for given, _ in GRANTS.values():
        superuser.execute(given)  # type: ignore[call-overload]
    superuser.execute(
        "CREATE VIEW report.leaks AS SELECT * FROM g1.quarantine; GRANT SELECT ON report.leaks TO xinliu_reader"
    )
    try:
        planned = xinliu(secure, "access", "plan", "--json")
        assert planned.returncode == 1, planned.stderr
        told = {f"{one['principal']}: {one['what']}" for one in json.loads(planned.stdout)}
        assert {what for _, what in GRANTS.values()} - told == set()
        assert "xinliu: EXTRA view report.leaks" in told
        assert not any("create" in one["action"] for one in json.loads(planned.stdout)), (
            "nothing is given of what nobody shipped"
        )
        applied = xinliu(secure, "access", "apply", "--json")
        # Nobody but whoever owns it takes a view away; the readers' right is gone.
        assert {one["what"] for one in json.loads(applied.stdout) if one["action"] in ("left", "differs")} == {
            "EXTRA view report.leaks"
        }
        assert applied.returncode == 1
        assert not superuser.execute(
            "SELECT has_table_privilege('xinliu_reader', 'report.leaks', 'SELECT')"
        ).fetchone()[0]  # type: ignore[index]
    finally:
        superuser.execute("DROP VIEW report.leaks")
    again = xinliu(secure, "access", "plan")
    assert (again.returncode, again.stdout) == (0, "nothing to do\n"), again.stdout
