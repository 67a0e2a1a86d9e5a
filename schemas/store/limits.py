"""Limits of the roles on a province's database server, as code: those that only a superuser can set.

`lacking` compares the server with the declarations here, and yields a statement for each difference; `apply` runs those
that the connection may run. Roles that the server does not have are left out. A role can lift most of its own limits
(`SET`, `ALTER ROLE` on itself): its own setting is a difference, and sessions that lifted theirs are ended
(streams/workers/session_guard.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql as compose

from schemas.store.roles import OPERATOR, OWNER, READER, ROLES, WORKER

__all__ = [
    "CONNECTIONS",
    "GRACE",
    "NOTIFY_PAGES",
    "RESERVED",
    "SETTINGS",
    "Lack",
    "allow",
    "apply",
    "lacking",
    "script",
]

CONNECTIONS: Mapping[str, int] = {READER: 20, OPERATOR: 10}
"""Maximum number of connections of a role."""

RESERVED = 20
"""Connections of the server reserved for the workers and the owner (and, three more, for its superuser)."""

NOTIFY_PAGES = 1_024
"""Pages of 8 kB that notifications may fill; any role may write there, and our code does not."""

_SECONDS = {"statement_timeout": 30, "idle_in_transaction_session_timeout": 60, "transaction_timeout": 300}

SETTINGS: Mapping[str, Mapping[str, str]] = {
    READER: {
        **{name: f"{seconds}s" for name, seconds in _SECONDS.items()},
        "lock_timeout": "5s",
        # The only limit that a role cannot lift itself.
        "temp_file_limit": "512MB",
        # Readers ask about one entity: starting a parallel worker takes longer than the answer,
        # whatever the planner says.
        "max_parallel_workers_per_gather": "0",
    },
    OPERATOR: {"idle_in_transaction_session_timeout": "600s"},
}
"""Initial settings of a role's sessions. A reader has these and no others."""

GRACE: Mapping[str, int] = {name: seconds + 15 for name, seconds in _SECONDS.items()}
"""Seconds after which the session guard ends a reader's session that lifted the limit of that name."""

_KEEPS = (OWNER, WORKER)
"""Roles that keep a connection even if others get none."""

_FUNCTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("advisory locks", r"^pg_(try_)?advisory_", (OWNER, WORKER)),
    ("large objects", r"^(lo_.*|loread|lowrite)$", ()),
    ("messages in the write-ahead log", r"^pg_logical_emit_message$", ()),
    ("ending others' sessions", r"^pg_(cancel|terminate)_backend$", (OWNER,)),
)
"""PostgreSQL functions that everybody may call by default, by pattern, and the roles that may call them here."""

_END_READERS = "xinliu.end_readers(interval, interval, interval)"


@dataclass(frozen=True, slots=True, order=True)
class Lack:
    """A difference from the declaration: the bounded role, a description, and the statement that corrects it."""

    role: str
    what: str
    statement: str
    superuser: bool = True
    """Whether only a superuser can run it, not the owner of the database."""


def lacking(connection: psycopg.Connection[Any]) -> list[Lack]:
    """Return the differences of this server and database from the declaration; any role may ask."""
    held = connection.execute(
        "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)", ([OWNER, *ROLES],)
    ).fetchall()
    limits = {str(role): int(limit) for role, limit in held}
    return [
        *_connections(connection, limits),
        *_settings(connection, limits),
        *_functions(connection, limits),
        *_databases(connection, limits),
        *_memberships(connection, limits),
        *_server(connection),
    ]


def apply(connection: psycopg.Connection[Any]) -> tuple[list[Lack], list[Lack]]:
    """Correct the differences; return the corrected ones, and those that this connection's role may not correct.

    The connection must be in autocommit.
    """
    before = lacking(connection)
    for lack in before:
        # PostgreSQL refuses some forbidden statements and only warns of others: a second query shows the effect.
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(lack.statement.encode())
    left = lacking(connection) if before else []
    return [lack for lack in before if lack not in left], left


def allow(owner: psycopg.Connection[Any]) -> None:
    """Run the statements of the owner of the database; others need a superuser. The connection is in autocommit."""
    for lack in lacking(owner):
        if not lack.superuser:
            owner.execute(lack.statement.encode())


def script(lacks: Iterable[Lack]) -> str:
    """Return the statements for a superuser of the server, in this database; each after a comment with its purpose."""
    return "".join(f"-- {lack.role}: {lack.what}\n{lack.statement};\n" for lack in lacks)


def _connections(connection: psycopg.Connection[Any], limits: Mapping[str, int]) -> Iterator[Lack]:
    for role, most in CONNECTIONS.items():
        if role in limits and limits[role] != most:
            text = compose.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                compose.Identifier(role), compose.Literal(most)
            )
            yield Lack(role, f"at most {most} connections", text.as_string(connection))


_CONFIGURED = """
SELECT role.rolname, database.datname, split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
FROM pg_db_role_setting setting JOIN pg_roles role ON role.oid = setting.setrole
LEFT JOIN pg_database database ON database.oid = setting.setdatabase, unnest(setting.setconfig) one
WHERE role.rolname = ANY(%s) AND (setting.setdatabase = 0 OR database.datname = current_database())
"""


def _settings(connection: psycopg.Connection[Any], limits: Mapping[str, int]) -> Iterator[Lack]:
    rows = connection.execute(_CONFIGURED, (list(SETTINGS),)).fetchall()
    held = {(role, name): value for role, database, name, value in rows if database is None}
    for role, database, name, value in rows:
        wanted = SETTINGS[role]
        # A setting for a database overrides one for the role; a reader has no undeclared setting.
        if (database is not None and name in wanted) or (
            role == READER and (database is not None or name not in wanted)
        ):
            scope = (
                compose.SQL("")
                if database is None
                else compose.SQL(" IN DATABASE {}").format(compose.Identifier(database))
            )
            text = compose.SQL("ALTER ROLE {}{} RESET {}").format(
                compose.Identifier(role), scope, compose.Identifier(name)
            )
            yield Lack(role, f"no setting {name} = {value} of its own", text.as_string(connection))
    for role, wanted in SETTINGS.items():
        for name, value in wanted.items():
            if role in limits and held.get((role, name)) != value:
                text = compose.SQL("ALTER ROLE {} SET {} = {}").format(
                    compose.Identifier(role), compose.Identifier(name), compose.Literal(value)
                )
                yield Lack(role, f"{name} = {value}", text.as_string(connection))


_EXECUTE = """
SELECT coalesce(grantee.rolname, 'PUBLIC'), array_agg(function.oid::regprocedure::text ORDER BY 1)
FROM pg_proc function, aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) acl
LEFT JOIN pg_roles grantee ON grantee.oid = acl.grantee
WHERE function.pronamespace = 'pg_catalog'::regnamespace AND function.proname ~ %s
  AND acl.privilege_type = 'EXECUTE' AND acl.grantee <> function.proowner
GROUP BY 1
"""
_ALL = """
SELECT array_agg(oid::regprocedure::text ORDER BY 1) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ %s
"""


def _functions(connection: psycopg.Connection[Any], limits: Mapping[str, int]) -> Iterator[Lack]:
    for what, pattern, keepers in _FUNCTIONS:
        names: list[str] = (connection.execute(_ALL, (pattern,)).fetchone() or ([],))[0] or []
        held = {str(role): set(functions) for role, functions in connection.execute(_EXECUTE, (pattern,))}
        # Granted before the revocation from everybody: a worker always keeps the right.
        for role in keepers:
            if role in limits and (missing := [name for name in names if name not in held.get(role, ())]):
                yield Lack(role, what, f"GRANT EXECUTE ON FUNCTION {', '.join(missing)} TO {role}")
        for role in sorted(held.keys() - set(keepers)):
            grantee = "PUBLIC" if role == "PUBLIC" else compose.Identifier(role).as_string(connection)
            functions = ", ".join(sorted(held[role]))
            yield Lack(role, f"no {what}", f"REVOKE EXECUTE ON FUNCTION {functions} FROM {grantee}")
    row = connection.execute(
        "SELECT to_regprocedure(%(function)s) IS NOT NULL"
        " AND NOT has_function_privilege(%(worker)s, to_regprocedure(%(function)s), 'EXECUTE')"
        if WORKER in limits
        else "SELECT false",
        {"function": _END_READERS, "worker": WORKER},
    ).fetchone()
    if row is not None and row[0]:
        yield Lack(
            WORKER,
            "ending readers beyond their limits",
            f"GRANT EXECUTE ON FUNCTION {_END_READERS} TO {WORKER}",
            superuser=False,
        )


_DATABASES = """
SELECT datname, datname = current_database(),
       EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) acl WHERE acl.grantee = 0),
       ARRAY(SELECT rolname::text FROM pg_roles, aclexplode(datacl) acl
             WHERE rolname = ANY(%s) AND acl.grantee = pg_roles.oid AND acl.privilege_type <> 'TEMPORARY' ORDER BY 1),
       ARRAY(SELECT rolname::text FROM pg_roles, aclexplode(datacl) acl
             WHERE rolname = %s AND acl.grantee = pg_roles.oid AND acl.privilege_type = 'TEMPORARY')
FROM pg_database WHERE datallowconn ORDER BY datname
"""


def _databases(connection: psycopg.Connection[Any], limits: Mapping[str, int]) -> Iterator[Lack]:
    if READER not in limits:
        return
    for database, ours, public, roles, temporary in connection.execute(_DATABASES, (list(ROLES), READER)):
        name = compose.Identifier(database).as_string(connection)
        if public:
            yield Lack(
                "PUBLIC",
                f"no CONNECT or TEMPORARY in database {database}",
                f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            )
        for role in () if ours else roles:
            yield Lack(role, f"no CONNECT in database {database}", f"REVOKE ALL ON DATABASE {name} FROM {role}")
        for role in temporary if ours else ():
            yield Lack(role, f"no TEMPORARY in database {database}", f"REVOKE TEMPORARY ON DATABASE {name} FROM {role}")


def _memberships(connection: psycopg.Connection[Any], limits: Mapping[str, int]) -> Iterator[Lack]:
    wanted = [(role, "pg_use_reserved_connections", "its share of reserved connections") for role in _KEEPS]
    # Not to act as one: to see what readers' sessions do, and to end those beyond their limits.
    wanted.append((OWNER, READER, "ending readers beyond their limits"))
    for role, group, what in wanted:
        if role not in limits or (group in ROLES and group not in limits):
            continue
        row = connection.execute("SELECT pg_has_role(%s, %s, 'USAGE')", (role, group)).fetchone()
        if row is not None and not row[0]:
            yield Lack(role, what, f"GRANT {group} TO {role} WITH INHERIT TRUE, SET FALSE")


def _server(connection: psycopg.Connection[Any]) -> Iterator[Lack]:
    rows = connection.execute(
        "SELECT name, setting::integer FROM pg_settings WHERE name IN ('reserved_connections', 'max_notify_queue_pages')"
    ).fetchall()
    held = {str(name): int(value) for name, value in rows}
    if held["reserved_connections"] < RESERVED:
        yield Lack(
            "server", f"{RESERVED} reserved connections, from its next start on",
            f"ALTER SYSTEM SET reserved_connections = {RESERVED}",
        )  # fmt: skip
    if held["max_notify_queue_pages"] > NOTIFY_PAGES:
        yield Lack(
            "server", f"notifications fill {NOTIFY_PAGES} pages at most, from its next start on",
            f"ALTER SYSTEM SET max_notify_queue_pages = {NOTIFY_PAGES}",
        )  # fmt: skip
