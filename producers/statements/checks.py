"""Checks before a statement is sent or stored; the same for Publisher and Outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.errors import StatementRejected
from schemas.contracts.codec import encode
from schemas.errors import Rejected
from schemas.identifiers.persons import names_person

__all__ = ["checked"]


def checked(statement: Mapping[str, Any], department: str) -> tuple[str, bytes]:
    """Return the subject's code and the Avro body of a statement that this department may publish.

    Raises StatementRejected if it is no statement, is another department's, or its subject has no USCC.
    """
    uscc = (statement.get("subject") or {}).get("uscc") or ""
    if not uscc.strip() or names_person(uscc):
        raise StatementRejected("the subject has no unified social credit code; natural persons are not published")
    if statement.get("department") != department:
        raise StatementRejected(f"the statement is of {statement.get('department')!r}, this is {department!r}")
    try:
        return uscc, encode("xinliu.Statement", dict(statement))
    except Rejected as error:
        raise StatementRejected(str(error)) from error
