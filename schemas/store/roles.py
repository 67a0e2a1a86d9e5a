"""Roles of a province's database and their rights on tables, as code.

The owner creates and changes tables (migrations, generations); every other role has only the rights declared here.
`grant` updates the database, and must follow every creation of a table. Roles that the server does not have are left
out: a plain local stack works with owner and reader alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql as compose

__all__ = ["OPERATOR", "OWNER", "READER", "ROLES", "WORKER", "Grant", "difference", "grant", "wanted"]

OWNER, WORKER, OPERATOR, READER = "xinliu", "xinliu_worker", "xinliu_operator", "xinliu_reader"
ROLES = (WORKER, OPERATOR, READER)
"""Roles that own nothing."""

_R, _W = "SELECT", ("SELECT", "INSERT", "UPDATE")

GENERATION: Mapping[str, tuple[str, ...]] = {
    # Only a repair deletes (streams/integrity/repair.py): rows that were never in a log. Erasing (撤销) empties a
    # statement and leaves its digest.
    "record": (*_W, "DELETE"),
    "record_history": (*_W, "DELETE"),
    "replay_refused": ("SELECT", "INSERT", "DELETE"),
    "writer_schema": _W,
    "former_entity": ("SELECT", "INSERT"),
    "position": _W,
    "input_progress": _W,
    "receipt_sent": _W,
    "credit_view": (*_W, "DELETE"),
    "source": (*_W, "DELETE"),
    "outbox": ("SELECT", "INSERT", "DELETE"),
    # Only a repair deletes (streams/integrity/quarantine_audit.py): rows that nobody stated.
    "quarantine": (*_W, "DELETE"),
    "quarantine_outcome": (*_W, "DELETE"),
    "quarantine_entry": (_R,),
    "manifest": _W,
    "manifest_lines": (*_W, "DELETE"),
    "record_difference": _W,
    "entity": (_R,),
    "registration": (_R,),
    "watermark": (_R,),
    "source_freshness": (_R,),
    "source_marked": (_R,),
    "quality_day": _W,
    "quality_count": (_R,),
    "quality_lateness": (_R,),
    "foreign_digest": (*_W, "DELETE"),
    "row_difference": _W,
    "exchange_request": (*_W, "DELETE"),
    "exchange_difference": _W,
    "applied_checkpoint": _W,
    "foreign_domain": _W,
    "foreign_pending": (*_W, "DELETE"),
    "case_standing": (_R,),
    "reflected_checkpoint": _W,
}
"""Rights of the view worker on the tables of a generation."""

_TIME = ("level", "list_period", "report_window", "visibility", "deadline", "workday", "exchange_limit")

SHARED: Mapping[str, tuple[str, ...]] = {
    "generation": (_R,),
    "serving": (_R,),
    "replay": (_R,),
    # Append-only: its readers must be able to trust it.
    "audit": ("SELECT", "INSERT"),
    "heartbeat": (_R, "INSERT", "DELETE"),
    "vouched": (_R, "INSERT"),
    "domain": (_R, "INSERT", "DELETE"),
    "domain_source": (_R, "INSERT", "DELETE"),
    "list": (_R, "INSERT", "DELETE"),
    "province": (_R, "INSERT", "DELETE"),
    "mutual_domain": (_R, "INSERT", "DELETE"),
    "installation": (_R, "INSERT"),
    # Never deleted from: a withdrawn record stays known as withdrawn.
    "shared_record": _W,
    "shared_digest": (*_W, "DELETE"),
    "published_checkpoint": _W,
    "exchange_wanted": _W,
    "shared_pending": (*_W, "DELETE"),
    "swept": _W,
    "silence": (_R, "INSERT", "DELETE"),
    # Peers' statements about themselves, and their open duties to us (docs/exchange.md).
    **dict.fromkeys(("peer_heard", "peer_published", "peer_status"), (*_W, "DELETE")),
    "exchange_duty": _W,
    **dict.fromkeys(("exchange_published", "exchange_heard", "exchange_matrix", "exchange_duty_state"), (_R,)),
    # Case events are permanent.
    **dict.fromkeys(("case_event", "case_state", "case_position"), _W),
    **dict.fromkeys(_TIME, (_R, "INSERT", "DELETE")),
}
"""Rights of the view worker on the tables that all generations share."""

_READ_SHARED = frozenset(
    {
        "serving",
        "domain",
        "domain_source",
        "list",
        "province",
        "heartbeat",
        "vouched",
        "mutual_domain",
        "installation",
        "silence",
        *_TIME,
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right of a role on a schema (`name` is None) or on a table or view in it."""

    role: str
    schema: str
    name: str | None
    privilege: str

    def __str__(self) -> str:
        """Its text in `xinliu access plan`."""
        return (
            f"{self.privilege} {'schema ' + self.schema if self.name is None else f'table {self.schema}.{self.name}'}"
        )


def wanted(relations: Mapping[str, frozenset[str]]) -> frozenset[Grant]:
    """Return all grants for these relations, by schema: generations (g1, g2…), xinliu, serving and report."""
    grants: set[Grant] = set()
    for schema, names in relations.items():
        generation = _is_generation(schema)
        worker = GENERATION if generation else SHARED if schema == "xinliu" else {}
        readable = names if schema == "report" else names & _READ_SHARED if schema == "xinliu" else frozenset[str]()
        for role, entered in (
            (WORKER, bool(worker)),
            (OPERATOR, True),
            (READER, not generation and schema != "serving"),
        ):
            if entered:
                grants.add(Grant(role, schema, None, "USAGE"))
        for name in names:
            grants |= {Grant(WORKER, schema, name, privilege) for privilege in worker.get(name, ())}
            grants.add(Grant(OPERATOR, schema, name, "SELECT"))
            if name in readable:
                grants.add(Grant(READER, schema, name, "SELECT"))
    return frozenset(grants)


def difference(
    connection: psycopg.Connection[Any], *, without: Collection[tuple[str, str]] = ()
) -> tuple[list[Grant], list[Grant]]:
    """Return missing and undeclared grants, both sorted, for the roles that the server has.

    `without` are tables and views (schema, name) that were not shipped: no right is declared there.
    """
    roles = {
        str(row[0])
        for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(ROLES),))
    }
    declared = {g for g in wanted(_relations(connection)) if g.role in roles and (g.schema, g.name) not in without}
    held = {Grant(*row) for row in connection.execute(_HELD, {"roles": sorted(roles)})}
    return sorted(declared - held, key=_order), sorted(held - declared, key=_order)


def grant(
    connection: psycopg.Connection[Any], *, without: Collection[tuple[str, str]] = ()
) -> tuple[list[Grant], list[Grant]]:
    """Grant missing rights, revoke undeclared ones; return both. The connection must be the owner's."""
    missing, stale = difference(connection, without=without)
    with connection.transaction():
        for one in missing:
            connection.execute(_statement("GRANT {} ON {} {} TO {}", one))
        for one in stale:
            connection.execute(_statement("REVOKE {} ON {} {} FROM {} CASCADE", one))
    return missing, stale


_HELD = """
SELECT grantee.rolname, schema.nspname, NULL, acl.privilege_type
FROM pg_namespace schema, aclexplode(schema.nspacl) acl JOIN pg_roles grantee ON grantee.oid = acl.grantee
WHERE grantee.rolname = ANY(%(roles)s) AND schema.nspname !~ '^pg_' AND schema.nspname <> 'information_schema'
UNION ALL
SELECT grantee.rolname, schema.nspname, relation.relname, acl.privilege_type
FROM pg_class relation JOIN pg_namespace schema ON schema.oid = relation.relnamespace,
     aclexplode(relation.relacl) acl JOIN pg_roles grantee ON grantee.oid = acl.grantee
WHERE grantee.rolname = ANY(%(roles)s) AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND schema.nspname !~ '^pg_' AND schema.nspname <> 'information_schema'
"""

_RELATIONS = """
SELECT schema.nspname, array_remove(array_agg(relation.relname::text), NULL)
FROM pg_namespace schema
LEFT JOIN pg_class relation ON relation.relnamespace = schema.oid AND relation.relkind IN ('r', 'p', 'v', 'm')
WHERE schema.nspname IN ('xinliu', 'report', 'serving') OR schema.nspname ~ '^g[0-9]+$'
GROUP BY schema.nspname
"""


def _relations(connection: psycopg.Connection[Any]) -> dict[str, frozenset[str]]:
    return {str(schema): frozenset(names) for schema, names in connection.execute(_RELATIONS)}


def _is_generation(schema: str) -> bool:
    return schema[:1] == "g" and schema[1:].isdecimal()


def _order(one: Grant) -> tuple[str, str, str, str]:
    return one.role, one.schema, one.name or "", one.privilege


def _statement(text: str, one: Grant) -> compose.Composed:
    kind = "SCHEMA" if one.name is None else "TABLE"
    names = (one.schema,) if one.name is None else (one.schema, one.name)
    return compose.SQL(text).format(
        compose.SQL(one.privilege), compose.SQL(kind), compose.Identifier(*names), compose.Identifier(one.role)
    )
