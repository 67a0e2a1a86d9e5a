"""Examination of one statement by the rules before it is sent, as intake will do it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from producers.errors import RowError, StatementRejected
from schemas.catalogue import Catalogue, Department
from schemas.contracts.avro import own_fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements
from schemas.contracts.registry import WriterSchema
from schemas.errors import Rejected
from schemas.rules import validate_publication

__all__ = ["check"]

_NAME = "xinliu.Statement"


def check(
    statement: Mapping[str, Any], department: Department, catalogue: Catalogue
) -> tuple[list[RowError], list[RowError]]:
    """Return intake's reasons to refuse the statement, and its remarks; line 1 stands for the statement.

    Raises StatementRejected if it is no statement at all.
    """
    try:
        body = encode(_NAME, dict(statement))
    except Rejected as error:
        raise StatementRejected(str(error)) from error
    writer = WriterSchema(0, _NAME, own_fingerprint(_NAME), source(_NAME), parsed(_NAME))
    decoded = decode_statements(writer, [body], [1])
    if decoded.undecodable:
        raise StatementRejected(decoded.undecodable[0].message)
    found = validate_publication(decoded.frame, department, catalogue, now=datetime.now(UTC))
    parted: dict[str, list[RowError]] = {"refuse": [], "flag": []}
    for _, code, severity, name, value, message in found.rows():
        parted[severity].append(RowError(1, name, value or "", code, message))
    return parted["refuse"], parted["flag"]
