"""Commands `xinliu access show | plan | apply | issue`: declared rights, and updating the servers to them."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.markup import escape

from deploy.cluster import access, acls, installation, quotas
from deploy.people import people_here
from deploy.settings import settings
from schemas.catalogue import load
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console
from schemas.errors import Retryable, UsageError
from schemas.files.private import write_private
from schemas.operations.operators import PERSONAL
from schemas.servers.connection import Approval
from schemas.store import definitions, grants, limits, roles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.servers.connection import Connection

__all__ = ["access_app", "mount"]

access_app = typer.Typer(
    help="Who may do what, and how much, as code: Kafka's rights and quotas, PostgreSQL's roles.", no_args_is_help=True
)


@access_app.command("show")
def show(
    ctx: typer.Context,
    province: Annotated[str, typer.Option(help="Whose principals.")] = "beijing",
    principal: Annotated[str | None, typer.Option(help="One principal alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show the declared rights: principal by principal; needs no servers. Unlisted rights are refused."""
    catalogue = load()
    catalogue.province(province)
    named = people_here(settings(), ctx.find_root().params.get("stack"))  # the present principals are not looked up
    rights = access.wanted(catalogue, province, named)
    if principal is not None:
        access.known_principal(principal, catalogue, province, named)
        rights = tuple(right for right in rights if right.principal == principal)
    if as_json:
        print(json.dumps([asdict(right) for right in rights], ensure_ascii=False))
        return
    _print(
        ("principal", "may", "with"),
        [
            (r.principal, r.operation, f"{r.resource.lower()} {r.name}{'…' if r.pattern == 'PREFIXED' else ''}")
            for r in rights
        ],
    )


@access_app.command("plan")
def plan(
    ctx: typer.Context,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print what a superuser of the database server is to run, and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what would change; exit code 1 if something would."""
    connection = _connection(ctx)
    if as_sql:
        with _owner(connection) as owner:
            lacks = limits.lacking(owner)
        print(limits.script(lacks), end="")
        if lacks:
            raise typer.Exit(1)
        return
    catalogue, named = load(), _people(ctx, connection)
    changes = list(acls.plan(connection.kafka, access.wanted(catalogue, connection.province, named)))
    changes += quotas.plan(connection.kafka, quotas.wanted(catalogue, connection.province, named))
    changes += _credentials(connection, named)
    changes += installation.plan(connection, named, _approval(ctx))
    with _owner(connection) as owner:
        differing = definitions.differences(owner)
        changes += _grants(*roles.difference(owner, without=_unshipped(differing)))
        changes += _foreign(grants.foreign(owner, connection.database_roles))
        changes += _differing(differing)
        changes += _bounds(limits.lacking(owner))
    _tell(changes, as_json)
    if changes:
        raise typer.Exit(1)


@access_app.command("apply")
def apply(ctx: typer.Context, as_json: Json = False) -> None:
    """Give what is missing and take away what is not declared, whoever gave it, quotas too; passwords stay as they are.

    It also makes the topics of people (the file `operators`), and sets for the whole installation whether two people
    are required (XINLIU_APPROVAL, XINLIU_APPROVAL_HOURS): nobody else's setting counts.

    Exit code 1 if something takes a superuser of the database server: `xinliu access plan --sql` prints it. Also if
    tables, views or functions are not as they were shipped, which no command changes back.
    """
    connection = _connection(ctx)
    catalogue, named = load(), _people(ctx, connection)
    settled = installation.settle(connection, named, _approval(ctx))
    changes = list(acls.apply(connection.kafka, access.wanted(catalogue, connection.province, named)))
    changes += quotas.apply(connection.kafka, quotas.wanted(catalogue, connection.province, named))
    stale = _credentials(connection, named)
    acls.withdraw(connection.kafka, [change.principal for change in stale])
    with _owner(connection) as owner, _superuser(ctx, connection) as superuser:
        unshipped = _unshipped(definitions.differences(owner))
        gone, kept = grants.remove([owner, superuser], connection.database_roles)
        # Last: the owner cannot grant rights on objects of others.
        try:
            changes += [*stale, *settled, *_foreign(gone), *_grants(*roles.grant(owner, without=unshipped))]
        except psycopg.errors.InsufficientPrivilege as error:
            shown = "; ".join(f"{one} (a superuser: {one.statement})" for one in kept)
            raise UsageError(f"{str(error).strip()}: first of all {shown}") from error
        done, left = limits.apply(superuser)
        changes += _bounds(done)
        remains = [acls.AccessChange("left", one.role, f"{one.what} (a superuser: {one.statement})") for one in kept]
        remains += _differing(definitions.differences(owner))
    _tell([*changes, *remains], as_json)
    if left:
        hinted = hint("`xinliu access plan --sql` prints the statements")
        print(f"{len(left)} things take a superuser of the database server: {hinted}", file=sys.stderr)
    if left or remains:
        raise typer.Exit(1)


@access_app.command("issue")
def issue(
    ctx: typer.Context,
    principal: Annotated[str, typer.Argument(help="For whom: `xinliu access show` names the principals.")],
    file: Annotated[Path, typer.Argument(help="Where its settings are written, for XINLIU_KAFKA_SECURITY (mode 600).")],
) -> None:
    """Give a principal a new random password, which replaces any earlier one from now on."""
    connection = _connection(ctx)
    access.known_principal(principal, load(), connection.province, _people(ctx, connection))
    if connection.kafka.protocol != "SASL_SSL":
        raise UsageError(f"this Kafka speaks {connection.kafka.protocol}: passwords are given over SASL_SSL only")
    if ctx.obj().principals is not None and not principal.startswith(PERSONAL):
        raise UsageError("a local stack gives its principals their passwords itself: they are in its folder")
    if file.exists():
        raise UsageError(
            f"{file} is there already: choose another name, and exchange the files when nobody needs the old"
        )
    password = secrets.token_urlsafe(24)
    lines = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": acls.MECHANISM,
        "sasl.username": principal,
        "sasl.password": password,
    }
    authority = connection.kafka.setting("ssl.ca.location")
    if authority is not None:
        lines["ssl.ca.location"] = authority
    # Written first: a lost password that is already in force would lock the principal out.
    try:
        write_private(file, "".join(f"{name}={value}\n" for name, value in lines.items()).encode())
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    acls.give(connection.kafka, {principal: password})
    print(f"{principal} connects with {file} from now on; open connections go on until they end")


def _connection(ctx: typer.Context) -> Connection:
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(access.ADMIN)
    if connection.kafka.setting("sasl.username") is None and connection.kafka.protocol != "SSL":
        raise UsageError(
            "this Kafka asks nobody who they are: start a stack with `xinliu up --secure`, or name credentials with"
            " XINLIU_KAFKA_SECURITY"
        )
    return connection


def _approval(ctx: typer.Context) -> Approval | None:
    known = settings()
    if ctx.obj().principals is not None and known.approval is None:
        return None  # a local stack stays as it is: `up` has set the rule
    return Approval(required=known.approval is not False, hours=known.approval_hours)


def _local(ctx: typer.Context) -> str | None:
    """Return the name of the local stack that plays every part; None if the servers are an installation's own."""
    return None if ctx.obj().principals is None else str(ctx.find_root().params.get("stack") or settings().stack)


def _people(ctx: typer.Context, connection: Connection) -> tuple[str, ...]:
    return people_here(settings(), ctx.find_root().params.get("stack"), acls.credentials(connection.kafka))


@contextmanager
def _superuser(ctx: typer.Context, connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    """Connect with the most rights available: a local stack's superuser, elsewhere the owner."""
    stack = _local(ctx)
    database = connection.database.get_secret_value()
    if stack is not None:
        from deploy.local.stack import Stack

        database = Stack(stack).postgres.conninfo("postgres", roles.OWNER)
    with _connected(database) as superuser:
        yield superuser


def _bounds(lacks: Iterable[limits.Lack]) -> list[acls.AccessChange]:
    return [
        acls.AccessChange(
            "remove" if lack.what.startswith("no ") else "create", lack.role, lack.what.removeprefix("no ")
        )
        for lack in lacks
    ]


def _credentials(connection: Connection, named: Iterable[str]) -> list[acls.AccessChange]:
    users = acls.credentials(connection.kafka)
    gone = access.gone(users, access.principals(load(), connection.province, named))
    return [acls.AccessChange("remove", user, "credential: no such department any more") for user in sorted(gone)]


def _grants(missing: Iterable[roles.Grant], stale: Iterable[roles.Grant]) -> list[acls.AccessChange]:
    return [acls.AccessChange("create", g.role, str(g)) for g in missing] + [
        acls.AccessChange("remove", g.role, str(g)) for g in stale
    ]


def _foreign(found: Iterable[grants.Foreign]) -> list[acls.AccessChange]:
    return [acls.AccessChange("remove", one.role, one.what) for one in found]


def _differing(found: Iterable[definitions.DefinitionDifference]) -> list[acls.AccessChange]:
    return [acls.AccessChange("differs", roles.OWNER, str(one)) for one in found]


def _unshipped(found: Iterable[definitions.DefinitionDifference]) -> frozenset[tuple[str, str]]:
    return frozenset((one.what.schema, one.what.name) for one in found if one.difference == "EXTRA")


def _owner(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    return _connected(connection.database.get_secret_value())


def _connected(database: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(database, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error


def _tell(changes: list[acls.AccessChange], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], ensure_ascii=False))
    elif changes:
        _print(("action", "principal", "right or quota"), [(c.action, c.principal, c.what) for c in changes])
    else:
        print("nothing to do")


def _print(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    escaped = [tuple(map(escape, row)) for row in rows]
    print_table(Console(), titles, escaped, text=titles[1:])


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(access_app, name="access")
