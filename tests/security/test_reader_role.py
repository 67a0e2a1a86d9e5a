"""The role of readers: what it may not do, what bounds it, and what happens where it lifts that."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from deploy.deadline import wait_until
from schemas.store import limits
from schemas.store.roles import OPERATOR, OWNER, READER, WORKER
from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.runtime.locks import RELAY
from streams.workers import session_guard as guards
from streams.workers.session_guard import PATIENCE, SessionGuard
from tests.secure import Secure, xinliu

Session = psycopg.Connection[Any]


def session(secure: Secure, role: str, database: str = "xinliu", **options: Any) -> Session:
    """Connect as a role."""
    return psycopg.connect(secure.stack.postgres.conninfo(role, database), autocommit=True, **options)


_LOCKS = [
    f"SELECT pg_{name}({keys})"
    for name in (
        "advisory_lock", "advisory_lock_shared", "advisory_xact_lock", "advisory_xact_lock_shared", "try_advisory_lock",
        "try_advisory_lock_shared", "try_advisory_xact_lock", "try_advisory_xact_lock_shared", "advisory_unlock",
        "advisory_unlock_shared",
    )
    for keys in (f"{RELAY}", "1, 2")
]  # fmt: skip
_REFUSED = [
    *_LOCKS,
    "SELECT pg_advisory_unlock_all()",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_open(1, 131072)",
    "SELECT lo_unlink(1)",
    "SELECT lowrite(0, 'x')",
    "SELECT pg_logical_emit_message(false, 'a', repeat('x', 1000))",
    "SELECT pg_logical_emit_message(true, 'a', '\\x00'::bytea)",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT xinliu.end_readers('0', '0', '0')",
    "SET temp_file_limit = -1",
    "ALTER ROLE xinliu_reader CONNECTION LIMIT -1",
    "ALTER ROLE xinliu_reader SET temp_file_limit = -1",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE TABLE public.mine ()",
]


@pytest.fixture(scope="module")
def reader(secure: Secure) -> Iterator[Session]:
    """A reader's session."""
    with session(secure, READER) as connection:
        yield connection


@pytest.mark.parametrize("statement", _REFUSED)
def test_what_a_reader_may_not(reader: Session, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


@pytest.mark.parametrize("role", [READER, OPERATOR, WORKER])
@pytest.mark.parametrize("database", ["postgres", "template1", "registry"])
def test_nobody_goes_to_another_database(secure: Secure, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        session(secure, role, database)


def test_a_reader_begins_with_its_limits(reader: Session) -> None:
    held = {name: reader.execute(f"SHOW {name}").fetchone() for name in limits.SETTINGS[READER]}
    assert {name: value for name, (value,) in held.items() if value} == {
        **limits.SETTINGS[READER], "idle_in_transaction_session_timeout": "1min", "transaction_timeout": "5min",
    }  # fmt: skip
    assert "-1" not in str(held)


def test_readers_and_operators_leave_the_workers_their_connections(secure: Secure) -> None:
    with ExitStack() as opened:
        for role, most in limits.CONNECTIONS.items():
            with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
                for _ in range(most + 1):
                    opened.enter_context(session(secure, role))
        for role in (WORKER, OWNER):
            session(secure, role).close()


@pytest.fixture
def guard(
    secure: Secure, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SessionGuard, Probe, Instruments, list[float]]]:
    """The guard of a view worker, which has no patience with readers, and its clock."""
    monkeypatch.setattr(limits, "GRACE", dict.fromkeys(limits.GRACE, 3600))
    probe, shown, now = Probe(()), Instruments("view"), [0.0]
    probe.assigned(1)
    made = SessionGuard(
        shown, probe, secure.stack.postgres.conninfo(WORKER, "xinliu"), generation=1, clock=lambda: now[0]
    )
    yield made, probe, shown, now
    made.close()


_LIFTED: Mapping[str, tuple[str, ...]] = {
    "statement_timeout": ("SELECT pg_sleep(60)",),
    "idle_in_transaction_session_timeout": ("BEGIN", "SELECT 1"),
    "transaction_timeout": ("BEGIN", "SELECT pg_sleep(60)"),
}


@pytest.mark.parametrize("limit", _LIFTED)
def test_a_session_beyond_a_limit_that_it_lifted_is_ended(
    secure: Secure,
    guard: tuple[SessionGuard, Probe, Instruments, list[float]],
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with suppress(psycopg.OperationalError), session(secure, READER) as connection:
        for name in limits.GRACE:
            connection.execute(f"SET {name} = 0".encode())
        pid = connection.info.backend_pid

        def work() -> None:
            with suppress(psycopg.OperationalError):
                for statement in _LIFTED[limit]:
                    connection.execute(statement.encode())

        thread = threading.Thread(target=work)
        thread.start()
        with session(secure, "postgres") as superuser:

            def there(state: str = "active|idle in transaction") -> bool:
                asked = "SELECT FROM pg_stat_activity WHERE pid = %s AND state ~ %s AND query = %s"
                return bool(superuser.execute(asked, (pid, state, _LIFTED[limit][-1])).rowcount)

            assert wait_until(there, seconds=10, every=0.02)
            if limit == "idle_in_transaction_session_timeout":
                assert wait_until(lambda: there("^idle in transaction$"), seconds=10, every=0.02)
            guard[0].look()
            assert there(), "within its limits nobody is ended"
            monkeypatch.setattr(limits, "GRACE", {**limits.GRACE, limit: 0})
            guard[0].look()
            assert wait_until(lambda: not there(), seconds=10, every=0.02)
        thread.join(10)
    assert f'xinliu_readers_ended_total{{limit="{limit}"}} 1.0' in guard[2].exposition()[0].decode()


_HELD = (
    ("SELECT pg_advisory_lock(-42)",),
    ("SELECT pg_advisory_lock_shared(-42)",),
    ("SELECT pg_advisory_lock(-4, 2)",),
    ("BEGIN", "SELECT pg_advisory_xact_lock(-42)"),
)


@pytest.mark.parametrize("statements", _HELD)
def test_a_lock_of_somebody_else_is_an_alarm(
    secure: Secure, guard: tuple[SessionGuard, Probe, Instruments, list[float]], statements: tuple[str, ...]
) -> None:
    looks, probe, shown, _ = guard
    looks.look()
    assert probe.unready() == []
    with session(secure, "postgres") as foreign:
        for statement in statements:
            foreign.execute(statement.encode())
        looks.look()
        assert probe.unready() == ["postgres holds or awaits 1 advisory locks, which are the workers'"]
        assert 'xinliu_foreign_locks{role="postgres"} 1.0' in shown.exposition()[0].decode()
    assert wait_until(lambda: looks.look() is None and probe.unready() == [], seconds=10, every=0.05)


@pytest.mark.parametrize(
    ("role", "name", "leads"),
    [(WORKER, "xinliu", True), (WORKER, "psql", False), (OWNER, "xinliu", False), (None, "", False)],
)
def test_a_leaders_lock_is_a_workers(
    secure: Secure,
    guard: tuple[SessionGuard, Probe, Instruments, list[float]],
    monkeypatch: pytest.MonkeyPatch,
    role: str | None,
    name: str,
    leads: bool,
) -> None:
    looks, probe, shown, now = guard
    monkeypatch.setattr(guards, "LEADERS", {77_001: "relay"})
    with ExitStack() as opened:
        if role is not None:
            holder = opened.enter_context(session(secure, role, application_name=name))
            holder.execute("SELECT pg_advisory_lock(77001)")
        looks.look()
        assert probe.unready() == []
        now[0] = PATIENCE + 1
        looks.look()
        missing = f"no worker has had the lock of the relay for {PATIENCE + 1:.0f} s"
        assert probe.unready() == ([] if leads else [missing])
        seconds = 0.0 if leads else PATIENCE + 1
        assert f'xinliu_leader_missing_seconds{{lock="relay"}} {seconds}' in shown.exposition()[0].decode()


@contextmanager
def changed(secure: Secure, by: str, statement: str) -> Iterator[Session]:
    """Change what bounds the roles, and see that it is mended; yields the owner's session."""
    with session(secure, by) as somebody, session(secure, OWNER) as owner, session(secure, "postgres") as superuser:
        somebody.execute(statement.encode())
        try:
            yield owner
        finally:
            done, left = limits.apply(superuser)
            assert (len(done), left, limits.lacking(owner)) == (1, [], [])


_CHANGED = (
    (READER, "ALTER ROLE xinliu_reader SET statement_timeout = 0"),
    (READER, "ALTER ROLE xinliu_reader IN DATABASE xinliu SET transaction_timeout = 0"),
    (READER, "ALTER ROLE xinliu_reader SET work_mem = '4GB'"),
    (READER, "ALTER ROLE xinliu_reader SET search_path = 'a,b=c'"),
    (OPERATOR, "ALTER ROLE xinliu_operator SET idle_in_transaction_session_timeout = 0"),
    ("postgres", "ALTER ROLE xinliu_reader SET temp_file_limit = -1"),
    ("postgres", "ALTER ROLE xinliu_reader CONNECTION LIMIT -1"),
    ("postgres", "ALTER ROLE xinliu_operator CONNECTION LIMIT 500"),
    ("postgres", "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC"),
    ("postgres", "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(int, int) TO xinliu_reader"),
    ("postgres", "REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) FROM xinliu_worker"),
    ("postgres", "GRANT EXECUTE ON FUNCTION lo_create(oid) TO xinliu_operator"),
    ("postgres", "GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO xinliu_reader"),
    ("postgres", "GRANT CONNECT ON DATABASE postgres TO PUBLIC"),
    ("postgres", "GRANT CONNECT ON DATABASE template1 TO xinliu_reader"),
    ("postgres", "GRANT TEMPORARY ON DATABASE xinliu TO xinliu_reader"),
    ("postgres", "GRANT CONNECT ON DATABASE xinliu TO PUBLIC"),
    ("postgres", "REVOKE pg_use_reserved_connections FROM xinliu_worker"),
    ("postgres", "REVOKE xinliu_reader FROM xinliu"),
    (OWNER, "REVOKE EXECUTE ON FUNCTION xinliu.end_readers FROM xinliu_worker"),
)


@pytest.mark.parametrize(("by", "statement"), _CHANGED)
def test_whatever_is_changed_by_hand_is_named_and_mended(secure: Secure, by: str, statement: str) -> None:
    with changed(secure, by, statement) as owner:
        assert len(limits.lacking(owner)) == 1


def test_the_commands_name_it_print_it_and_set_it(secure: Secure) -> None:
    with session(secure, READER) as reader:
        reader.execute("ALTER ROLE xinliu_reader SET lock_timeout = 0")
    planned = xinliu(secure, "access", "plan", "--json")
    wanted = [{"action": "create", "principal": READER, "what": "lock_timeout = 5s"}]
    assert (planned.returncode, json.loads(planned.stdout)) == (1, wanted), planned.stderr
    printed = xinliu(secure, "access", "plan", "--sql")
    assert printed.returncode == 1
    with session(secure, "postgres") as superuser:
        superuser.execute(printed.stdout.encode())
        assert (xinliu(secure, "access", "plan", "--sql").stdout, limits.lacking(superuser)) == ("", [])
        superuser.execute("ALTER ROLE xinliu_reader CONNECTION LIMIT 60")
    applied = xinliu(secure, "access", "apply", "--json")
    wanted = [{"action": "create", "principal": READER, "what": "at most 20 connections"}]
    assert (applied.returncode, json.loads(applied.stdout)) == (0, wanted), applied.stderr
    assert xinliu(secure, "access", "plan").returncode == 0
