"""Who may do what on the province's cluster, as code: principals and their rights follow from the catalogue.

Nothing here talks to a server. Whatever is not said here is refused: the broker knows no other rights
(deploy/acls.py takes others away), and no right to refuse is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.catalogue import Catalogue, Department
from schemas.errors import UsageError

__all__ = [
    "ADMIN",
    "BROKER",
    "SUPER_USERS",
    "Right",
    "department_principal",
    "gone",
    "known_principal",
    "permits",
    "principals",
    "wanted",
]

ADMIN = "admin"
"""Sets up topics, rights and credentials, and does nothing day by day."""
BROKER = "broker"
"""The brokers among themselves."""
SUPER_USERS = (ADMIN, BROKER)
"""Whom the broker asks for no right."""

WORKERS = ("intake", "view")
READERS = ("operator", "report")

_IMPLIES = {
    "DESCRIBE": ("READ", "WRITE", "DELETE", "ALTER"),
    "DESCRIBE_CONFIGS": ("ALTER_CONFIGS",),
}
"""Who has one of the rights behind has the right in front, too (Kafka's own rule)."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One principal may do one thing with one resource, or with all whose names begin so (PREFIXED), or with all (*)."""

    principal: str
    resource: str
    """TOPIC, GROUP, TRANSACTIONAL_ID or CLUSTER."""
    pattern: str
    """LITERAL or PREFIXED."""
    name: str
    operation: str
    """READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS, …: Kafka's names."""

    def covers(self, resource: str, name: str) -> bool:
        """Tell whether the right is about this resource."""
        if resource != self.resource:
            return False
        return name.startswith(self.name) if self.pattern == "PREFIXED" else self.name in (name, "*")


def department_principal(key: str) -> str:
    """Return the principal of a department."""
    return f"department-{key}"


def principals(catalogue: Catalogue, province: str) -> tuple[str, ...]:
    """Return every principal of a province but the super users."""
    return (*WORKERS, *READERS, *(department_principal(d.key) for d in catalogue.departments(province)))


def gone(users: Iterable[str], wanted_now: Iterable[str]) -> frozenset[str]:
    """Return the users that were a department's and are nobody any more; names that we never give are left alone."""
    return frozenset(user for user in users if user.startswith(department_principal(""))) - set(wanted_now)


def known_principal(name: str, catalogue: Catalogue, province: str) -> str:
    """Return the name. Raises UsageError where the province has no such principal."""
    if name in principals(catalogue, province):
        return name
    raise UsageError(f"{province} has no principal {name!r}: `xinliu access show` names them")


def wanted(catalogue: Catalogue, province: str) -> tuple[Right, ...]:
    """Return all rights of a province, sorted."""
    departments = catalogue.departments(province)
    rights = [*_intake(departments), *_view(departments), *_operator(), *_report()]
    for department in departments:
        rights += _department(department)
    return tuple(sorted(rights))


def permits(rights: Iterable[Right], principal: str, resource: str, name: str, operation: str) -> bool:
    """Tell whether these rights let a principal do that: what the broker must answer."""
    enough = {operation, *_IMPLIES.get(operation, ())}
    return any(r.principal == principal and r.operation in enough and r.covers(resource, name) for r in rights)


def _department(department: Department) -> Iterable[Right]:
    who = department_principal(department.key)
    yield Right(who, "TOPIC", "LITERAL", department.records_topic, "WRITE")
    yield Right(who, "TOPIC", "LITERAL", department.receipts_topic, "READ")
    # A full stop ends the prefix, because no key of the catalogue has one: finance never reads as finance-office.
    yield Right(who, "GROUP", "PREFIXED", f"{who}.", "READ")
    yield Right(who, "TRANSACTIONAL_ID", "PREFIXED", f"{who}.", "WRITE")


def _intake(departments: Iterable[Department]) -> Iterable[Right]:
    for department in departments:
        yield Right("intake", "TOPIC", "LITERAL", department.records_topic, "READ")
    for topic in ("accepted", "quarantine"):
        yield Right("intake", "TOPIC", "LITERAL", topic, "WRITE")
    # Takes an entry's value from there when an operator lets it through or has it examined again.
    yield Right("intake", "TOPIC", "LITERAL", "quarantine", "READ")
    # Follows what operators decide, and writes down whom it has stopped itself.
    for operation in ("READ", "WRITE"):
        yield Right("intake", "TOPIC", "LITERAL", "operations", operation)
    yield Right("intake", "GROUP", "LITERAL", "xinliu-intake", "READ")
    yield Right("intake", "GROUP", "PREFIXED", "intake.", "READ")


def _view(departments: Iterable[Department]) -> Iterable[Right]:
    for topic in ("accepted", "quarantine"):
        yield Right("view", "TOPIC", "LITERAL", topic, "READ")
    # Tombstones of what a revocation erases, and nothing else.
    for topic in ("accepted", "changes"):
        yield Right("view", "TOPIC", "LITERAL", topic, "WRITE")
    for department in departments:
        # Their ids and partitions, for 数据截至; not what is in them.
        yield Right("view", "TOPIC", "LITERAL", department.records_topic, "DESCRIBE")
        yield Right("view", "TOPIC", "LITERAL", department.receipts_topic, "WRITE")
    yield Right("view", "GROUP", "LITERAL", "xinliu-view", "READ")


def _operator() -> Iterable[Right]:
    # Sees everything, changes nothing but by an event on operations.
    for topic in ("accepted", "quarantine", "changes", "operations"):
        yield Right("operator", "TOPIC", "LITERAL", topic, "READ")
    yield Right("operator", "TOPIC", "LITERAL", "operations", "WRITE")
    yield Right("operator", "TOPIC", "LITERAL", "*", "DESCRIBE")
    yield Right("operator", "TOPIC", "LITERAL", "*", "DESCRIBE_CONFIGS")
    yield Right("operator", "GROUP", "LITERAL", "*", "DESCRIBE")
    yield Right("operator", "GROUP", "PREFIXED", "operator.", "READ")
    yield Right("operator", "CLUSTER", "LITERAL", "kafka-cluster", "DESCRIBE")


def _report() -> Iterable[Right]:
    yield Right("report", "TOPIC", "LITERAL", "changes", "READ")
    yield Right("report", "GROUP", "PREFIXED", "report.", "READ")
