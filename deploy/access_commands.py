"""`xinliu access show | plan | apply | issue`: who may do what, and bringing the servers there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from rich.markup import escape

from deploy import access, acls
from deploy.certificates import write_secret
from deploy.settings import settings
from schemas import roles
from schemas.catalogue import load
from schemas.errors import Retryable, UsageError
from schemas.options import Json
from schemas.tables import print_table
from schemas.terminal import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.connection import Connection

__all__ = ["access_app"]

access_app = typer.Typer(help="Who may do what, as code: Kafka's rights and PostgreSQL's roles.", no_args_is_help=True)


@access_app.command("show")
def show(
    province: Annotated[str, typer.Option(help="Whose principals.")] = "beijing",
    principal: Annotated[str | None, typer.Option(help="One principal alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show the declared rights: principal by principal; needs no servers. What is not listed is refused."""
    catalogue = load()
    catalogue.province(province)
    rights = access.wanted(catalogue, province, settings().people)
    if principal is not None:
        access.known_principal(principal, catalogue, province, settings().people)
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
def plan(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what would change; exit code 1 where something would."""
    connection = _connection(ctx)
    catalogue = load()
    changes = list(acls.plan(connection.kafka, access.wanted(catalogue, connection.province, settings().people)))
    changes += _credentials(connection)
    with _owner(connection) as owner:
        changes += _grants(*roles.difference(owner))
    _tell(changes, as_json)
    if changes:
        raise typer.Exit(1)


@access_app.command("apply")
def apply(ctx: typer.Context, as_json: Json = False) -> None:
    """Give what is missing and take away what is not declared, whoever gave it; passwords stay as they are."""
    connection = _connection(ctx)
    catalogue = load()
    changes = list(acls.apply(connection.kafka, access.wanted(catalogue, connection.province, settings().people)))
    stale = _credentials(connection)
    acls.withdraw(connection.kafka, [change.principal for change in stale])
    with _owner(connection) as owner:
        changes += [*stale, *_grants(*roles.grant(owner))]
    _tell(changes, as_json)


@access_app.command("issue")
def issue(
    ctx: typer.Context,
    principal: Annotated[str, typer.Argument(help="For whom: `xinliu access show` names the principals.")],
    file: Annotated[Path, typer.Argument(help="Where its settings are written, for XINLIU_KAFKA_SECURITY (mode 600).")],
) -> None:
    """Give a principal a new random password, which opens the door from now on instead of any earlier one."""
    connection = _connection(ctx)
    access.known_principal(principal, load(), connection.province, settings().people)
    if connection.kafka.protocol != "SASL_SSL":
        raise UsageError(f"this Kafka speaks {connection.kafka.protocol}: passwords are given over SASL_SSL only")
    if ctx.obj().principals is not None:
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
    # Written first: a password that is in force and lost would shut the principal out.
    try:
        write_secret(file, "".join(f"{name}={value}\n" for name, value in lines.items()).encode())
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


def _credentials(connection: Connection) -> list[acls.Change]:
    users = acls.credentials(connection.kafka)
    gone = access.gone(users, access.principals(load(), connection.province, settings().people))
    return [acls.Change("remove", user, "credential: no such department any more") for user in sorted(gone)]


def _grants(missing: Iterable[roles.Grant], stale: Iterable[roles.Grant]) -> list[acls.Change]:
    return [acls.Change("create", g.role, str(g)) for g in missing] + [
        acls.Change("remove", g.role, str(g)) for g in stale
    ]


def _owner(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(connection.database.get_secret_value(), autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error


def _tell(changes: list[acls.Change], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], ensure_ascii=False))
    elif changes:
        _print(("action", "principal", "right"), [(c.action, c.principal, c.what) for c in changes])
    else:
        print("nothing to do")


def _print(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    escaped = [tuple(map(escape, row)) for row in rows]
    print_table(Console(), titles, escaped, text=titles[1:])
