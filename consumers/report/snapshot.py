"""Snapshot: one consistent moment of the database, its transaction, and the positions folded in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.report.sources import SourceState, sources_now
from consumers.report.token import Moment
from schemas.errors import Retryable, UsageError
from schemas.identifiers.persons import showable
from schemas.identifiers.uscc_check import check

__all__ = ["Connection", "Snapshot", "rows_about", "snapshot"]

Connection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The moment, the database's province (None if not written yet), and the sources as they are now."""

    now: Moment
    own: str | None
    sources: tuple[SourceState, ...]

    @classmethod
    def of(cls, connection: Connection) -> Snapshot:
        """Read the snapshot in a transaction. Raises UsageError if the view has not been started yet."""
        positions = connection.execute("SELECT * FROM report.position ORDER BY topic, partition").fetchall()
        if not positions:
            raise UsageError("the view has not been started yet: run `xinliu up`")
        sources = sources_now(connection)
        # The transaction's own time, by which its sources were judged.
        row = connection.execute(
            "SELECT now() AS read_at, (SELECT province FROM report.installation) AS own"
        ).fetchone()
        assert row is not None
        vouched = {source.department: source.data_as_of for source in sources}
        return cls(Moment.of(positions, vouched, row["read_at"]), row["own"], sources)

    def must_fit(self, moment: Moment) -> None:
        """Raise UsageError if a moment belongs to another database or generation."""
        if moment.topic_ids != self.now.topic_ids or moment.generation != self.now.generation:
            raise UsageError("this token is of another database or generation: it cannot be reproduced here")


@contextmanager
def snapshot(database: str, uscc: str) -> Iterator[Connection]:
    """Open a REPEATABLE READ transaction that reads about an entity.

    Raises UsageError if the code is no USCC, Retryable if PostgreSQL does not answer.
    """
    if not database:
        raise UsageError("this process has no database: name one with XINLIU_DATABASE or XINLIU_READER_DATABASE")
    wrong = [code for code in check(uscc) if code != "USCC_CHECK_DIGIT"]
    if wrong:
        raise UsageError(f"{showable(uscc)!r} is no unified social credit code ({', '.join(wrong)})")
    try:
        with psycopg.connect(
            database, row_factory=dict_row, options="-c timezone=UTC", connect_timeout=10
        ) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield connection
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer: {error}") from error


def rows_about(connection: Connection, view: str, uscc: str, anchor: str) -> Sequence[dict[str, Any]]:
    """Return an entity's rows of a view of `report`, the newest by that column first."""
    query = f"SELECT * FROM report.{view} WHERE uscc = %s ORDER BY {anchor} DESC, record_id"
    return connection.execute(query, (uscc,)).fetchall()
