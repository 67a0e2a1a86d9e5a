"""Outbox: writes statements in the department's own transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, MetaData, Table, insert

from producers.errors import StatementRejected
from producers.outbox.tables import REFUSAL, TABLE_NAME, RowState, Tables
from producers.statements.checks import checked
from producers.statements.refusals import LONGEST_DOMAIN, refusal_of
from schemas.catalogue import Catalogue
from schemas.contracts.avro import own_fingerprint, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements
from schemas.contracts.registry import WriterSchema, writer_schema
from schemas.records.identity import digest, digest_hex
from schemas.records.refused_row import NAME as REFUSED_ROW
from schemas.rules import validate_publication

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["LARGEST", "Outbox"]

LARGEST = 1_000_000
"""Maximum bytes of a message with header and key: the default limit of producers and brokers."""

_AROUND = 512
"""Maximum bytes that a message has beside its body."""
_TOLD = 5
"""Maximum number of reasons in a refusal."""


class Outbox:
    """The outbox of one department. It never commits: its rows are published if and only if your transaction commits.

    >>> outbox = Outbox("tax")
    >>> outbox.table(MetaData()).name
    'xinliu_outbox'

    With `catalogue` (and your `province`) statements are checked by the rules of intake when they are added: a mistake
    then fails the transaction that makes it instead of coming back as a receipt. The catalogue must be as new as the
    platform's; an old one refuses statements that have become allowed.
    """

    def __init__(
        self,
        department: str,
        *,
        table_name: str = TABLE_NAME,
        schema: str | None = None,
        catalogue: Catalogue | None = None,
        province: str = "beijing",
    ) -> None:
        self.department = department
        self._names = (table_name, schema)
        self._tables = Tables(MetaData(), *self._names)
        self._catalogue = catalogue
        self._known = None if catalogue is None else catalogue.department(province, department)

    def table(self, metadata: MetaData) -> Table:
        """Define the outbox's tables in your metadata, for create_all or your migrations. Return the rows' table."""
        return Tables(metadata, *self._names).rows

    def add(self, connection: Connection | Session, statement: Mapping[str, Any]) -> None:
        """Write one statement (as schemas/avro/Statement.avsc has it) in the transaction of this connection.

        Raises StatementRejected if it could not be published, and adds the refusal in the same transaction. If you roll
        back, nothing is published. If you commit all the same, readers see 待核 before the relay vouches again.
        """
        self.add_many(connection, [statement])

    def add_many(self, connection: Connection | Session, statements: Iterable[Mapping[str, Any]]) -> int:
        """Write statements in this order. Return how many. All or none: raises as `add` does."""
        added_at = datetime.now(UTC)
        said = list(statements)
        try:
            rows = [self._row(statement, added_at) for statement in said]
            if not rows:
                return 0
            self._hold_against_rules([row["body"] for row in rows], added_at)
        except Exception as error:
            # If the caller catches the error and commits, its data change; without this no reader would know.
            connection.execute(insert(self._tables.rows), [self._refusal(one, error, added_at) for one in said])
            raise
        connection.execute(insert(self._tables.rows), rows)
        return len(rows)

    def _row(self, statement: Mapping[str, Any], added_at: datetime) -> dict[str, Any]:
        uscc, body = checked(statement, self.department)
        for column, longest in (("record_id", 32), ("domain", LONGEST_DOMAIN)):
            _fit(column, statement[column], longest)
        _fit("the subject's code", uscc, 18)
        if len(body) + _AROUND > LARGEST:
            raise StatementRejected(f"the statement is {len(body)} bytes long, more than the broker takes")
        return {
            "department": self.department,
            "record_id": statement["record_id"],
            "version": statement["version"],
            "domain": statement["domain"],
            "uscc": uscc,
            "digest": digest_hex(*digest(body)),
            "writer_schema": _writer().fingerprint,
            "body": body,
            "added_at": added_at,
            "state": RowState.WAITING,
        }

    def _refusal(self, statement: object, error: Exception, at: datetime) -> dict[str, Any]:
        refusal = refusal_of(statement, error, self.department)
        body = encode(REFUSED_ROW, refusal.to_record(self.department, at))
        return {
            "department": self.department,
            "record_id": refusal.record_id or "",
            "version": REFUSAL,
            "domain": refusal.domain or "",
            "uscc": refusal.uscc or "",
            "digest": digest_hex(*digest(body)),
            "writer_schema": own_fingerprint(REFUSED_ROW),
            "body": body,
            "added_at": at,
            "state": RowState.WAITING,
        }

    def _hold_against_rules(self, bodies: list[bytes], now: datetime) -> None:
        if self._catalogue is None or self._known is None:
            return
        decoded = decode_statements(_writer(), bodies, range(len(bodies)))
        reasons = [f"{bad.message} [{bad.code}]" for bad in decoded.undecodable]
        found = validate_publication(decoded.frame, self._known, self._catalogue, now=now).filter(
            pl.col("severity") == "refuse"
        )
        reasons += [f"{field}: {message} [{code}]" for _, code, _, field, _, message in found.rows()]
        if reasons:
            more = f" … and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
            raise StatementRejected("; ".join(reasons[:_TOLD]) + more)


def _fit(what: str, text: str, longest: int) -> None:
    # An error of the database would abort the department's whole transaction.
    if len(text) > longest or not (text.isascii() and text.isprintable()):
        raise StatementRejected(f"{what} is more than {longest} ASCII letters and digits")


@cache
def _writer() -> WriterSchema:
    return writer_schema(0, json.dumps(source("xinliu.Statement"), ensure_ascii=False))
