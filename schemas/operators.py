"""Who an operator is: what stands as `by` in every event that a person causes."""

from __future__ import annotations

import getpass
import socket

from schemas.cluster import Cluster

__all__ = ["PERSONAL", "operator", "person"]

PERSONAL = "operator-"
"""A principal of Kafka that is one person's own is called so and then by the person's name; the broker has asked for its password."""


def operator(kafka: Cluster) -> str:
    """Return who runs this process: `name@host`.

    The name is that of the person's own Kafka principal where he has one (operator-zhang); else of the user, which is worth
    what the machine is worth.
    """
    principal = kafka.setting("sasl.username") or ""
    name = principal if principal.startswith(PERSONAL) else getpass.getuser()
    return f"{name}@{socket.gethostname()}"


def person(by: str) -> str:
    """Return whose name an event bears: the same user on another machine is the same person.

    >>> person("zhang@desk-1") == person("zhang@desk-2")
    True
    """
    return by.rpartition("@")[0] or by
