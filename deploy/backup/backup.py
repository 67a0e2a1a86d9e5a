"""Backup and restore of a province's database, over an ordinary connection: one snapshot, with all positions.

A restored database is behind the log and catches up by itself, since the positions are part of it. Kafka replicates the
log itself, which is not part of a backup.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg import sql

from schemas.errors import Retryable, UsageError
from schemas.files.private import create, private_folder, write_private
from schemas.store.database import serving_generation
from schemas.store.roles import grant
from schemas.store.serving_views import expose
from schemas.store.sql_files import sql as sql_file

__all__ = ["Saved", "back_up", "manifest_of", "restore"]

_FORMAT = 1
_MANIFEST = "manifest.json"
Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Saved:
    """A table in a backup: schema and name, its file, rows, and the SHA-256 of the file."""

    schema: str
    table: str
    file: str
    rows: int
    sha256: str


class _Seen:
    """A file that is written or read once, from its beginning to its end, and the SHA-256 of its content."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write."""
        self.sha256.update(data)
        return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        """Read."""
        data = self._file.read(size)
        self.sha256.update(data)
        return data

    def flush(self) -> None:
        """Flush the written data."""
        self._file.flush()


def back_up(database: str, folder: Path, *, of: str, tell: Callable[[str], None]) -> tuple[Saved, ...]:
    """Write every table of a database (a libpq connection string) to a new folder, as of one moment.

    `of` names the source (a province, or its schema registry); the backup can be restored only to that. Raises
    UsageError if the folder exists or has no room; a backup without its manifest is invalid.
    """
    if (folder / _MANIFEST).exists() or (folder.exists() and any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: name a new folder for the backup")
    try:
        private_folder(folder)
        with _connected(database) as session, session.transaction():
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            saved = []
            for schema, table in _tables(session):
                tell(f"{schema}.{table}")
                saved.append(_save(session, schema, table, folder))
            manifest = {
                "format": _FORMAT,
                "of": of,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "revision": _revision(session),
                "sequences": _sequences(session),
                "positions": _positions(session),
                "tables": [{name: getattr(table, name) for name in Saved.__slots__} for table in saved],
            }
            write_private(folder / _MANIFEST, json.dumps(manifest, indent=1).encode())
    except OSError as error:
        raise UsageError(
            f"cannot write the backup to {folder}: {error.strerror}; what is there is no backup"
        ) from error
    return tuple(saved)


def manifest_of(folder: Path, of: str) -> tuple[str, dict[str, Any]]:
    """Return a backup manifest's SHA-256, and the manifest. Raises UsageError if the folder is no backup of `of`."""
    try:
        content = (folder / _MANIFEST).read_bytes()
        known: dict[str, Any] = json.loads(content)
    except OSError:
        raise UsageError(f"{folder} is no backup: it has no {_MANIFEST}") from None
    except ValueError as error:
        raise UsageError(f"{folder / _MANIFEST} is damaged ({error}): use another backup") from error
    if known.get("format") != _FORMAT:
        raise UsageError(f"{folder} was written in format {known.get('format')}, this reads {_FORMAT}")
    if known["of"] != of:
        raise UsageError(f"{folder} is a backup of {known['of']}, not of {of}")
    return hashlib.sha256(content).hexdigest(), known


def restore(
    database: str, folder: Path, *, of: str, tell: Callable[[str], None], sha256: str | None = None
) -> tuple[Saved, ...]:
    """Restore a database from a backup, in one transaction: it succeeds as a whole or changes nothing.

    `sha256` is that of the manifest that the log vouches for (deploy/backup/log.py). Raises UsageError if the folder is
    no whole backup of `of`, or of another revision, or while somebody else is connected to the database: stop the
    workers first.
    """
    found, manifest = manifest_of(folder, of)
    if sha256 not in (None, found):
        raise UsageError(f"{folder / _MANIFEST} has changed since it was looked at: use another backup")
    saved = tuple(Saved(**entry) for entry in manifest["tables"])
    if foreign := [table.file for table in saved if Path(table.file).name != table.file]:
        raise UsageError(
            f"{folder / _MANIFEST} names {foreign[0]!r}, which is no file of the backup: use another backup"
        )
    for table in saved:
        tell(f"checking {table.file}")
        if _sha256(folder / table.file) != table.sha256:
            raise UsageError(f"{folder / table.file} is not what was backed up: use another backup")
    with _connected(database) as session:
        others = session.execute(
            # The owner sees little more of other roles' sessions than their existence; sessions without a user are
            # PostgreSQL's own.
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND usesysid IS NOT NULL"
        ).fetchone()
        if others is not None and others[0]:
            raise UsageError(f"{others[0]} others are connected to the database: stop the workers and readers first")
        if _revision(session) != manifest["revision"]:
            raise UsageError(
                f"the backup is of revision {manifest['revision']}, the database of {_revision(session)}: restore it with"
                " the xinliu that made it, then migrate"
            )
        with session.transaction():
            _make_generations(session, {table.schema for table in saved})
            present = _tables(session)
            missing = {(table.schema, table.table) for table in saved} - set(present)
            if missing:
                raise UsageError(f"the database has no table {'.'.join(min(missing))}: migrate it first")
            # The audit is append-only; only a restore writes it back, and it catches up from the topic like all others.
            session.execute("SET LOCAL xinliu.restoring = 'yes'")
            session.execute(
                sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(sql.Identifier(*name) for name in present))
            )
            for table in _parents_first(session, saved):
                tell(f"{table.schema}.{table.table}")
                _put_back(session, table, folder)
            for schema, name, value in manifest["sequences"]:
                if value is not None:
                    session.execute("SELECT setval(format('%%I.%%I', %s::text, %s::text), %s)", (schema, name, value))
            _show_generations(session, {table.schema for table in saved})
    return saved


def _connected(database: str) -> Session:
    if not database:  # libpq would look for any database of this machine
        raise UsageError("this process has no database: name its owner's connection with XINLIU_DATABASE")
    try:
        return psycopg.connect(database, autocommit=True)
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {str(error).strip()}") from error


def _tables(session: Session) -> list[tuple[str, str]]:
    rows = session.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        " AND schemaname NOT LIKE 'pg\\_%' AND tablename <> 'alembic_version' ORDER BY 1, 2"
    ).fetchall()
    return [(str(schema), str(table)) for schema, table in rows]


def _parents_first(session: Session, saved: tuple[Saved, ...]) -> list[Saved]:
    rows = session.execute(
        "SELECT cn.nspname, c.relname, pn.nspname, p.relname FROM pg_constraint k"
        " JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace"
        " JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace"
        " WHERE k.contype = 'f' AND k.conrelid <> k.confrelid"
    ).fetchall()
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for child_schema, child, parent_schema, parent in rows:
        needs.setdefault((child_schema, child), set()).add((parent_schema, parent))
    ordered: list[Saved] = []
    left = list(saved)
    while left:
        waiting = {(table.schema, table.table) for table in left}
        ready = [table for table in left if not needs.get((table.schema, table.table), set()) & waiting]
        ordered += ready or left  # circular foreign keys: the database will report them
        left = [table for table in left if table not in ordered]
    return ordered


def _save(session: Session, schema: str, table: str, folder: Path) -> Saved:
    name = f"{schema}.{table}.copy.gz"
    query = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(schema, table))
    with create(folder / name) as file, session.cursor() as cursor:
        seen = _Seen(file)
        with gzip.GzipFile(fileobj=seen, mode="wb", compresslevel=1) as out, cursor.copy(query) as copy:
            for chunk in copy:
                out.write(chunk)
        rows = cursor.rowcount
    return Saved(schema, table, name, rows, seen.sha256.hexdigest())


def _put_back(session: Session, table: Saved, folder: Path) -> None:
    query = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table.schema, table.table))
    with (folder / table.file).open("rb") as file, session.cursor() as cursor:
        seen = _Seen(file)
        with gzip.GzipFile(fileobj=seen) as source, cursor.copy(query) as copy:
            while chunk := source.read(1 << 20):
                copy.write(chunk)
        # The digest of the bytes that were read, not of an earlier look at the file.
        if seen.sha256.hexdigest() != table.sha256:
            raise UsageError(f"{folder / table.file} is not what was backed up: use another backup")
        if cursor.rowcount != table.rows:
            raise UsageError(f"{folder / table.file} holds {cursor.rowcount} rows, not {table.rows}")


def _make_generations(session: Session, schemas: set[str]) -> None:
    held = {str(row[0]) for row in session.execute("SELECT nspname FROM pg_namespace")}
    for schema in sorted(schemas - held):
        if not (schema.startswith("g") and schema[1:].isdecimal()):
            raise UsageError(f"the database has no schema {schema}: migrate it first")
        session.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        session.execute(sql.SQL("SET LOCAL search_path = {}, xinliu, pg_catalog").format(sql.Identifier(schema)))
        session.execute(sql_file("generation"))
    grant(session)


def _show_generations(session: Session, saved: set[str]) -> None:
    if "xinliu" not in saved:
        return  # a schema registry's
    # Readers' views follow the generations of the backup; later generations are created again if they are wanted.
    expose(session)
    for (schema,) in session.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^g[0-9]+$'").fetchall():
        if schema not in saved:
            session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def _revision(session: Session) -> str | None:
    row = session.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if row is None or row[0] is None:
        return None
    found = session.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return None if found is None else str(found[0])


def _sequences(session: Session) -> list[tuple[str, str, int | None]]:
    rows = session.execute(
        "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname NOT LIKE 'pg\\_%' ORDER BY 1, 2"
    ).fetchall()
    return [(str(schema), str(name), value) for schema, name, value in rows]


def _positions(session: Session) -> dict[str, int]:
    """Return the positions of the serving generation, by partition; empty for a database without one."""
    row = session.execute("SELECT to_regclass('xinliu.serving')").fetchone()
    if row is None or row[0] is None:
        return {}
    positions = sql.SQL("SELECT topic || '/' || partition, next_offset FROM {} ORDER BY topic, partition").format(
        sql.Identifier(f"g{serving_generation(session):d}", "position")
    )
    return {str(place): int(offset) for place, offset in session.execute(positions)}


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
