"""Commands `xinliu backup` and `xinliu restore`: a province's database and its schema registry's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.options import Json
from schemas.console.terminal import Console
from schemas.errors import Retryable, UsageError

if TYPE_CHECKING:
    from deploy.backup.backup import Saved
    from deploy.local.stack import Stack
    from schemas.servers.connection import Connection

__all__ = ["mount"]

Folder = Annotated[Path, typer.Argument(help="Folder of the backup.")]


def _local(ctx: typer.Context) -> Stack | None:
    """Return the local stack of the command, or None if the servers are an installation's own."""
    from deploy.local.stack import Stack
    from deploy.settings import settings

    name = ctx.find_root().params.get("stack")
    known = settings()
    if name is None and known.kafka is not None:
        return None
    return Stack(name or known.stack)


def _databases(ctx: typer.Context, stack: Stack | None) -> dict[str, tuple[str, str]]:
    # Folder name → connection string and source. An installation makes its own backups of the registry's database.
    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting("admin")  # the operator sees no sequence, and may change nothing
    found = {"database": (connection.database.get_secret_value(), connection.province)}
    if stack is not None:
        registry = stack.postgres.conninfo("registry", "registry")
        found["registry"] = (registry, f"the schema registry of {connection.province}")
    return found


def _told(saved: dict[str, tuple[Saved, ...]], as_json: bool, done: str) -> None:
    if as_json:
        print(json.dumps({name: [asdict(table) for table in tables] for name, tables in saved.items()}))
        return
    for name, tables in saved.items():
        print(f"{name}: {len(tables)} tables, {sum(table.rows for table in tables):,} rows {done}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str], None]]:
    with Console(stderr=True).status("…") as shown:
        yield lambda step: shown.update(f"{what}: {step}")


def backup(ctx: typer.Context, folder: Folder, as_json: Json = False) -> None:
    """Write the database, and a local stack's schema registry, to a new folder. Workers and readers go on meanwhile.

    `operations` keeps the digest of the backup: restore checks it.
    """
    from deploy.backup.backup import back_up
    from deploy.backup.log import vouch
    from schemas.files.private import private_folder

    stack = _local(ctx)
    databases = _databases(ctx, stack)
    try:
        if not folder.exists():
            private_folder(folder)
    except OSError as error:
        raise UsageError(f"cannot write the backup to {folder}: {error.strerror}") from error
    with _progress("backup") as tell:
        saved = {name: back_up(database, folder / name, of=of, tell=tell) for name, (database, of) in databases.items()}
    vouch(ctx.obj(), folder, {name: of for name, (_, of) in databases.items()})
    _told(saved, as_json, "saved")


def restore(
    ctx: typer.Context,
    folder: Folder,
    only: Annotated[
        str | None, typer.Option("--only", help="database, or registry: put back only this one.", metavar="WHICH")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the event.")] = "",
    unvouched: Annotated[
        bool,
        typer.Option(
            "--unvouched", help="Put back what operations does not vouch for, its log being lost: with --reason."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put the database, and a local stack's schema registry, back to a backup; as a whole or not at all.

    A restored database has its old positions in the log, and the view worker catches up from there. Stop workers and
    readers first; a local stack's are stopped and started again by this command.
    """
    from deploy.backup.backup import manifest_of
    from deploy.backup.backup import restore as put_back
    from deploy.backup.log import ask

    if unvouched and not reason.strip():
        raise UsageError("--unvouched takes a --reason: why a backup is put back that nothing vouches for")
    stack = _local(ctx)
    databases = _databases(ctx, stack)
    if only is not None and only not in databases:
        raise UsageError(f"--only is one of {', '.join(databases)}, not {only!r}")
    chosen = {name: known for name, known in databases.items() if only in (None, name)}
    for name in chosen:
        if not (folder / name).is_dir():
            raise UsageError(f"{folder} holds no backup of the {name}: name the folder that `xinliu backup` wrote")
    digests = {name: manifest_of(folder / name, of)[0] for name, (_, of) in chosen.items()}
    if not unvouched:
        ask(ctx.obj(), folder, digests)
    ran = _pause(stack)
    try:
        with _progress("restore") as tell:
            saved = {
                name: put_back(database, folder / name, of=of, tell=tell, sha256=digests[name])
                for name, (database, of) in chosen.items()
            }
    finally:
        if stack is not None and ran:
            stack.up(province=ctx.obj().province, workers=any(name.startswith("worker-") for name in ran))
    rows = {name: sum(table.rows for table in tables) for name, tables in saved.items()}
    detail = {"folder": str(folder), "after": rows, "manifests": digests, "vouched": not unvouched}
    _write_down(ctx.obj(), detail, reason)
    _told(saved, as_json, "put back")


def _write_down(connection: Connection, detail: dict[str, object], reason: str) -> None:
    # Afterwards: the schema registry may be lost, and no event can be written without it.
    from deploy.backup.log import write

    try:
        write(connection, "DATABASE_RESTORED", detail, reason.strip())
    except Retryable as error:
        raise Retryable(
            f"it is put back, and that could not be written to operations ({error}): run it again once Kafka answers"
        ) from error


def _pause(stack: Stack | None) -> list[str]:
    """Stop the workers connected to a local stack's databases, and return those that ran."""
    if stack is None:
        return []
    ran = [server.name for server in stack.status() if server.pid and server.name.startswith(("worker-", "registry"))]
    for name in sorted(ran, reverse=True):
        stack.stop(name)
    return ran


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.command()(backup)
    app.command()(restore)
