"""Operators: the `by` of every event that a person causes."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.servers.kafka import Cluster

__all__ = ["PERSONAL", "another", "operator", "operator_event", "person", "require_reason"]

PERSONAL = "operator-"
"""Prefix of a Kafka principal that belongs to one person, before the person's name; the broker checks its password."""


def operator(kafka: Cluster) -> str:
    """Return who runs this process: `name@host`.

    The name is that of the person's own Kafka principal if there is one (operator-zhang); otherwise that of the user,
    which is as credible as the machine. `kafka` is the cluster as the person reaches it: taken before
    `Connection.acting`.
    """
    name = kafka.setting("sasl.username") or ""
    if not name.startswith(PERSONAL):
        user = getpass.getuser()
        # A user of the machine may have such a name: no broker has checked that user's password.
        name = f"user-{user}" if user.startswith(PERSONAL) else user
    return f"{name}@{socket.gethostname()}"


def operator_event(
    kafka: Cluster, kind: str, reason: str, detail: Mapping[str, Any], *, department: str | None = None
) -> Operation:
    """Return an event of the person who runs this process, made now; `kafka` as for `operator`."""
    return Operation(kind, department, datetime.now(UTC), operator(kafka), reason.strip(), detail)


def require_reason(reason: str) -> None:
    """Raise UsageError if a reason is empty."""
    if not reason.strip():
        raise UsageError("--reason must say why: it is kept with the event, for whoever reads the audit")


def person(by: str) -> str:
    """Return the name in an event's `by`: the same user on another machine is the same person.

    >>> person("zhang@desk-1") == person("zhang@desk-2")
    True
    """
    return by.rpartition("@")[0] or by


def another(by: str, planner: str) -> bool:
    """Return whether these are certainly two people: two principals of people, or two users of machines.

    A principal and a user may be one person, because the machine does not know the principal.

    >>> another("operator-li@desk-1", "operator-zhang@desk-1"), another("li@desk-1", "zhang@desk-1")
    (True, True)
    >>> another("operator-zhang@desk-1", "zhang@desk-1")
    False
    """
    first, second = person(by), person(planner)
    return first != second and first.startswith(PERSONAL) == second.startswith(PERSONAL)
