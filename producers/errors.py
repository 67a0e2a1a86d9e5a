"""Errors on a department's side.

XinliuError
├── Rejected
│   └── StatementRejected   a statement cannot be published as it is; nothing was sent
├── UsageError
│   └── NotVouched          a statement was not published and readers do not know of it; no marker is written
└── Retryable
    ├── NotDelivered        the broker did not confirm some records; publishing the same again is idempotent
    └── NotVisibleYet       --wait ran out of time; the records are still on their way
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import Rejected, Retryable, UsageError

__all__ = ["NotDelivered", "NotVisibleYet", "NotVouched", "RowError", "StatementRejected"]


class StatementRejected(Rejected):
    """A statement cannot be published as it is. The message gives the reason, and nothing of the statement was sent."""


class NotVouched(UsageError):
    """No marker is written: a statement was not published and readers do not know of it. Nothing was sent."""


class NotDelivered(Retryable):
    """The broker did not confirm some records. Publishing the same records again changes nothing for the others."""

    def __init__(self, count: int, first: str) -> None:
        super().__init__(f"Kafka did not confirm {count} of the records ({first}); publish the same file again")
        self.count = count


class NotVisibleYet(Retryable):
    """Some records are neither visible nor refused yet. They are still on their way."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One error in one row: its line in the file, the column by its header, the value, the code and the reason."""

    line: int
    column: str
    value: str
    code: str
    reason: str
