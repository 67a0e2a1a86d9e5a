"""What can go wrong on a department's side.

XinliuError
├── Rejected
│   └── StatementRejected   a statement cannot be published as it is: nothing was sent
├── UsageError
│   └── NotVouched          something that was to be published was not, and nobody was told: no marker is written
└── Retryable
    ├── NotDelivered        the broker did not confirm some records; publishing the same again harms nothing
    └── NotVisibleYet       --wait ran out of time; the records are on their way all the same
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import Rejected, Retryable, UsageError

__all__ = ["NotDelivered", "NotVisibleYet", "NotVouched", "RowError", "StatementRejected"]


class StatementRejected(Rejected):
    """A statement cannot be published as it is; the message says why, and nothing of it was sent."""


class NotVouched(UsageError):
    """No marker is written: something was not published, and readers have not been told of it. Nothing was sent."""


class NotDelivered(Retryable):
    """The broker did not confirm some records; publishing the same records again changes nothing for the others."""

    def __init__(self, count: int, first: str) -> None:
        super().__init__(f"Kafka did not confirm {count} of the records ({first}); publish the same file again")
        self.count = count


class NotVisibleYet(Retryable):
    """Not every record is visible or refused yet; they are on their way all the same."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One thing wrong with one row: its line in the file, the column as the file calls it, the value, why."""

    line: int
    column: str
    value: str
    code: str
    reason: str
