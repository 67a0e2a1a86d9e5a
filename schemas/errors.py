"""The tree of errors.

XinliuError
├── UsageError       a person can mend it: one line that says what to do; the command exits with 2
├── Retryable        a server did not answer: try again with back-off, nothing was lost
├── Interrupted      a person pressed Ctrl-C: one line says what was done until then; the command exits with 130
├── ServingMoved     another generation serves: whoever follows begins anew with that one
├── Rejected         a record is refused: it goes to its rejects file or to the quarantine, never away
└── Fatal            going on could lose or double something: the process stops with a non-zero exit
    ├── PositionLost     a stored position does not fit the log (topic made anew, log shorter than the position)
    └── ContractBroken   what this process itself wrote or must read is not what the contract says
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
    """Something that a person can mend; the message is one line that says what is wrong and what to do."""

    exit_code = 2


class Retryable(XinliuError):
    """A server did not answer in time; the same call may succeed later and repeating it harms nothing.

    `server` is which one: kafka, registry or postgres.
    """

    exit_code = 3

    def __init__(self, message: str, *, server: str = "unknown") -> None:
        super().__init__(message)
        self.server = server


class Interrupted(XinliuError):
    """A person pressed Ctrl-C; the message says what was done until then, and what to do."""

    exit_code = 130


class ServingMoved(XinliuError):
    """Another generation serves than the one this was for; nothing was written."""

    exit_code = 3


class Rejected(XinliuError):
    """A record is refused; the message says why, and whoever catches it keeps the record somewhere visible."""


class Fatal(XinliuError):
    """Going on could lose, double or falsify something; the process must stop with a non-zero exit code."""

    exit_code = 4


class PositionLost(Fatal):
    """A stored position does not fit the log any more: the topic was made anew, or the log does not reach it."""


class ContractBroken(Fatal):
    """A message of the project's own topics cannot be what the contract says; nothing is skipped."""
