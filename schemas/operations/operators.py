"""Who an operator is: what stands as `by` in every event that a person causes."""

from __future__ import annotations

import getpass
import socket

from schemas.servers.kafka import Cluster

__all__ = ["PERSONAL", "another", "operator", "person"]

PERSONAL = "operator-"
"""A principal of Kafka that is one person's own is called so and then by the person's name; the broker has asked for its password."""


def operator(kafka: Cluster) -> str:
    """Return who runs this process: `name@host`.

    The name is that of the person's own Kafka principal if he has one (operator-zhang); otherwise that of the user, which is
    worth what the machine is worth. `kafka` is the cluster as the person reaches it: taken before `Connection.acting`.
    """
    name = kafka.setting("sasl.username") or ""
    if not name.startswith(PERSONAL):
        user = getpass.getuser()
        # A user of the machine may be called so: no broker has asked for his password.
        name = f"user-{user}" if user.startswith(PERSONAL) else user
    return f"{name}@{socket.gethostname()}"


def person(by: str) -> str:
    """Return whose name an event bears: the same user on another machine is the same person.

    >>> person("zhang@desk-1") == person("zhang@desk-2")
    True
    """
    return by.rpartition("@")[0] or by


def another(by: str, planner: str) -> bool:
    """Tell whether these are certainly two people: two principals of people, or two users of machines.

    A principal and a user may be one person, whose machine does not know his principal.

    >>> another("operator-li@desk-1", "operator-zhang@desk-1"), another("li@desk-1", "zhang@desk-1")
    (True, True)
    >>> another("operator-zhang@desk-1", "zhang@desk-1")
    False
    """
    first, second = person(by), person(planner)
    return first != second and first.startswith(PERSONAL) == second.startswith(PERSONAL)
