"""The tree of errors.

XinliuError
├── UsageError       a person can correct it: one line says how; the command exits with 2
├── Retryable        a server did not answer: retry with back-off, nothing was lost
├── Interrupted      a person pressed Ctrl-C: one line reports the finished part; the command exits with 130
├── ServingMoved     another generation serves: a follower starts again with that one
├── Rejected         a record is refused: it goes to its rejects file or to the quarantine, and is never dropped
└── Fatal            continuing could lose or double something: the process stops with a non-zero exit
    ├── PositionLost     a stored position does not fit the log (topic created again, log shorter than the position)
    └── ContractBroken   data that this process wrote or must read breaks the contract
"""

from __future__ import annotations

__all__ = [
    "ContractBroken",
    "Fatal",
    "Interrupted",
    "PositionLost",
    "Rejected",
    "Retryable",
    "ServingMoved",
    "UsageError",
    "XinliuError",
]


class XinliuError(Exception):
    """Root of every error that xinliu raises on purpose."""

    exit_code = 1


class UsageError(XinliuError):
    """A fault that a person can correct; the message is one line with the fault and the remedy."""

    exit_code = 2


class Retryable(XinliuError):
    """A server did not answer in time; the same call may succeed later and repeating it harms nothing.

    `server` names it: kafka, registry or postgres.
    """

    exit_code = 3

    def __init__(self, message: str, *, server: str = "unknown") -> None:
        super().__init__(message)
        self.server = server


class Interrupted(XinliuError):
    """A person pressed Ctrl-C; the message reports the finished part and the next step."""

    exit_code = 130


class ServingMoved(XinliuError):
    """Another generation serves than the one that the caller expected; nothing was written."""

    exit_code = 3


class Rejected(XinliuError):
    """A record is refused; the message gives the reason, and the catcher keeps the record visible."""


class Fatal(XinliuError):
    """Continuing could lose, double or falsify data; the process must stop with a non-zero exit code."""

    exit_code = 4


class PositionLost(Fatal):
    """A stored position does not fit the log any more: the topic was created again, or the log ends before it."""


class ContractBroken(Fatal):
    """A message of the project's own topics breaks its contract; nothing is skipped."""
