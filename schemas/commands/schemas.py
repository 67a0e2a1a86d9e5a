"""Commands on schemas: `xinliu schemas register | check | accept`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console
from schemas.contracts.avro import CONTRACTS, SHIPPED, fingerprint, source
from schemas.contracts.evolution import Breakage, check
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.contracts.registry import Registry

__all__ = ["mount"]

_FINGERPRINT = re.compile("[0-9a-f]{64}")

schemas = typer.Typer(help="The contracts: Avro schemas and their versions in the registry.", no_args_is_help=True)


_File = Annotated[
    Path | None, typer.Argument(help="An .avsc file: another version of one contract, in place of all of ours.")
]


def _registry(ctx: typer.Context, *, writes: bool = False) -> Registry:
    from schemas.contracts.registry import Registry

    connection = ctx.obj()
    return Registry((connection.acting("admin") if writes else connection).registry)


def _version(path: Path) -> tuple[str, Any]:
    """Return a file's schema, and the contract of which it is a version."""
    schema = _earlier(path)
    name = f"{schema.get('namespace', 'xinliu')}.{schema.get('name')}"
    if name not in CONTRACTS:
        raise UsageError(f"{path} holds {name}, which is none of ours: {', '.join(CONTRACTS)}")
    return name, schema


def _earlier(path: Path) -> Any:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; name an .avsc file") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON ({error}); name an .avsc file") from error
    if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
        raise UsageError(f"{path} holds no Avro record; name an .avsc file")
    return schema


def _table(found: list[tuple[str, Breakage]]) -> None:
    rows = [
        (name, str(broken.version or "-"), escape(broken.path.removeprefix(f"{name}.")), escape(broken.message))
        for name, broken in found
    ]
    print_table(Console(), ("contract", "version", "field", "reason"), rows, text=("field", "reason"))


@schemas.command("check")
def _check(
    ctx: typer.Context,
    against: Annotated[
        Path | None, typer.Option("--against", help="An earlier .avsc file, in place of the registered versions.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option("--name", help="The contract to check, by its full name; all where none is named.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check whether and why the schemas in schemas/avro would break a reader of any earlier version. Exit code 1 if
    they would."""
    old: dict[str, dict[int, Any]]
    if contract is not None and contract not in CONTRACTS:
        raise UsageError(f"{contract} is none of our contracts; name one of {', '.join(CONTRACTS)}")
    if against is not None:
        earlier = _earlier(against)
        old = {contract or _version(against)[0]: {1: earlier}}
    else:
        with _registry(ctx) as registry:
            old = {name: registry.versions(name) for name in ([contract] if contract else CONTRACTS)}
    found = [(name, broken) for name, versions in old.items() for broken in check(source(name), versions)]
    if as_json:
        versions = {name: sorted(held) for name, held in old.items()}
        breakages = [{"contract": name, **asdict(broken)} for name, broken in found]
        print(json.dumps({"compared": versions, "breakages": breakages}, ensure_ascii=False))
    elif found:
        _table(found)
    else:
        print("; ".join(f"{name}: compatible with {len(versions)} version(s)" for name, versions in old.items()))
    return 1 if found else 0


@schemas.command("register")
def _register(
    ctx: typer.Context,
    file: _File = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be registered, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Register every contract under its full name, FULL_TRANSITIVE. Exit code 1, and nothing done, if one would break.

    Nothing else writes to the registry, and a registry with authentication requires admin's credentials for this. A
    version that is not ours (FILE) is only read once somebody has accepted it, too.
    """
    wanted = {name: source(name) for name in CONTRACTS} if file is None else dict([_version(file)])
    with _registry(ctx, writes=True) as registry:
        held = {name: registry.versions(name) for name in wanted}
        found = [(name, broken) for name in wanted for broken in check(wanted[name], held[name])]
        ids = {} if dry_run or found else {name: registry.register(name, schema) for name, schema in wanted.items()}
    if found:
        if as_json:
            print(json.dumps({"breakages": [{"contract": name, **asdict(b)} for name, b in found]}, ensure_ascii=False))
        else:
            _table(found)
        return 1
    news = [name for name in wanted if wanted[name] not in held[name].values()]
    if as_json:
        print(json.dumps({"new": news, "ids": ids, "dry_run": dry_run}))
        return 0
    for name in wanted:
        state = ("would be registered" if dry_run else "registered") if name in news else "there already"
        print(f"{name}: {state}" + (f", id {ids[name]}" if name in ids else ""))
    return 0


@schemas.command("accept")
def _accept(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="An .avsc file, or the fingerprint of a version that is registered.")],
    reason: Annotated[str, typer.Option("--reason", help="Whose version it is, and who has looked at it; kept.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be accepted, and change nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Vouch for a version of a contract that was not shipped: intake reads messages of it from now on.

    Exit code 1, and nothing done, if a reader of any registered version could not read it.
    """

    from schemas.operations.log import SCHEMA_ACCEPTED, OperationsWriter
    from schemas.operations.operators import operator_event, require_reason

    require_reason(reason)
    connection = ctx.obj()
    with _registry(ctx) as registry:
        name, schema = _registered(registry, version) if _FINGERPRINT.fullmatch(version) else _version(Path(version))
        mark = fingerprint(schema)
        found = [(name, broken) for broken in check(schema, registry.versions(name) | {0: source(name)})]
        if not (found or dry_run or mark in SHIPPED):
            detail = {"contract": name, "fingerprint": mark, "schema": schema}
            event = operator_event(connection.kafka, SCHEMA_ACCEPTED, reason, detail)
            OperationsWriter(connection.kafka, registry).write(event)
    if as_json:
        told = {"contract": name, "fingerprint": mark, "shipped": mark in SHIPPED, "dry_run": dry_run}
        print(json.dumps({**told, "breakages": [asdict(broken) for _, broken in found]}, ensure_ascii=False))
    elif found:
        _table(found)
    elif mark in SHIPPED:
        print(f"{name} {mark}: was shipped, and is believed anyway")
    else:
        print(f"{name} {mark}: {'would be' if dry_run else 'is'} accepted")
    return 1 if found else 0


def _registered(registry: Registry, mark: str) -> tuple[str, Any]:
    for name in CONTRACTS:
        for schema in registry.versions(name).values():
            if fingerprint(schema) == mark:
                return name, schema
    raise UsageError(f"the registry has no contract with the fingerprint {mark}: name its .avsc file")


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(schemas, name="schemas")
