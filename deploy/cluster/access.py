"""Access rights on the province's cluster, as code: principals and their rights follow from the catalogue.

Nothing here contacts a server. Every undeclared right is refused: the broker has no other rights
(deploy/cluster/acls.py revokes them), so that no DENY is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas.catalogue import Catalogue, Department
from schemas.errors import UsageError
from schemas.exchange.topics import exchange_topic, status_topic
from schemas.operations.operators import PERSONAL
from schemas.operations.topics import PREFIX, SHARED_TOPIC, STEWARD, STEWARD_TOPIC, WORKERS_TOPIC, person_topic

__all__ = [
    "ADMIN",
    "BROKER",
    "SUPER_USERS",
    "Right",
    "department_principal",
    "gone",
    "known_principal",
    "link_principal",
    "permits",
    "principals",
    "wanted",
]

ADMIN = "admin"
"""Sets up topics, rights and credentials, and has no daily task."""
BROKER = "broker"
"""Principal of the brokers among themselves."""
SUPER_USERS = (ADMIN, BROKER)
"""Principals that the broker lets do everything."""

WORKERS = ("intake", "view", "link", STEWARD)
READERS = ("operator", "report")

_IMPLIES = {
    "DESCRIBE": ("READ", "WRITE", "DELETE", "ALTER"),
    "DESCRIBE_CONFIGS": ("ALTER_CONFIGS",),
}
"""Right → other rights that imply it (Kafka's own rule)."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A right: one principal, one operation, on one resource, on all with a prefix (PREFIXED), or on all (*)."""

    principal: str
    resource: str
    """TOPIC, GROUP, TRANSACTIONAL_ID or CLUSTER."""
    pattern: str
    """LITERAL or PREFIXED."""
    name: str
    operation: str
    """READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS, …: Kafka's names."""

    def covers(self, resource: str, name: str) -> bool:
        """Return whether the right applies to this resource."""
        if resource != self.resource:
            return False
        return name.startswith(self.name) if self.pattern == "PREFIXED" else self.name in (name, "*")


def department_principal(key: str) -> str:
    """Return the principal of a department."""
    return f"department-{key}"


def link_principal(origin: str) -> str:
    """Return the principal of another province's push links on this one's cluster."""
    return f"link-{origin}"


def principals(catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> tuple[str, ...]:
    """Return every principal of a province's cluster but the super users; `people` are operators with their own."""
    links = (link_principal(other) for other in _others(catalogue, province))
    departments = (department_principal(d.key) for d in catalogue.departments(province))
    return (*WORKERS, *READERS, *(f"{PERSONAL}{name}" for name in people), *links, *departments)


def gone(users: Iterable[str], wanted_now: Iterable[str]) -> frozenset[str]:
    """Return the users that were a department's, a province's or a person's and are obsolete now.

    Users with names of other forms are left alone.
    """
    ours = (department_principal(""), link_principal(""), PERSONAL)
    return frozenset(user for user in users if user.startswith(ours)) - set(wanted_now)


def known_principal(name: str, catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> str:
    """Return the name. Raises UsageError if the province has no such principal."""
    if name in principals(catalogue, province, people):
        return name
    raise UsageError(f"{province} has no principal {name!r}: `xinliu access show` names them")


def wanted(catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> tuple[Right, ...]:
    """Return all rights of a province, sorted; `people` are operators with a principal of their own."""
    departments, others = catalogue.departments(province), _others(catalogue, province)
    rights = [
        *_intake(departments, others),
        *_view(province, departments, others),
        *_operator(SHARED_TOPIC),
        *_report(),
        *_steward(),
    ]
    for department in departments:
        rights += _department(department)
    for name in people:
        who = f"{PERSONAL}{name}"
        # The rights of the shared principal, except its topic: each operator has one of their own, for which the broker
        # vouches.
        rights += [replace(right, principal=who) for right in _operator(person_topic(name))]
        rights.append(Right(who, "GROUP", "PREFIXED", f"{who}.", "READ"))
    rights += _link(province)
    for origin in others:
        rights += _far_link(origin)
    return tuple(sorted(rights))


def permits(rights: Iterable[Right], principal: str, resource: str, name: str, operation: str) -> bool:
    """Return whether these rights permit the operation: the broker's expected answer."""
    enough = {operation, *_IMPLIES.get(operation, ())}
    return any(r.principal == principal and r.operation in enough and r.covers(resource, name) for r in rights)


def _department(department: Department) -> Iterable[Right]:
    who = department_principal(department.key)
    yield Right(who, "TOPIC", "LITERAL", department.records_topic, "WRITE")
    yield Right(who, "TOPIC", "LITERAL", department.receipts_topic, "READ")
    # A full stop ends the prefix, because no key of the catalogue contains one: finance never matches finance-office.
    yield Right(who, "GROUP", "PREFIXED", f"{who}.", "READ")
    yield Right(who, "TRANSACTIONAL_ID", "PREFIXED", f"{who}.", "WRITE")


def _others(catalogue: Catalogue, province: str) -> tuple[str, ...]:
    return tuple(key for key in catalogue.provinces if key != province)


def _intake(departments: Iterable[Department], others: Iterable[str]) -> Iterable[Right]:
    for origin in others:
        yield Right("intake", "TOPIC", "LITERAL", exchange_topic(origin), "READ")
    for department in departments:
        yield Right("intake", "TOPIC", "LITERAL", department.records_topic, "READ")
    for topic in ("accepted", "quarantine"):
        yield Right("intake", "TOPIC", "LITERAL", topic, "WRITE")
    # Reads an entry's value there when an operator overrides or redrives it.
    yield Right("intake", "TOPIC", "LITERAL", "quarantine", "READ")
    # Follows operators' decisions and approvals, and logs the departments that it has stopped itself.
    yield from _follows_operations("intake")
    yield Right("intake", "TOPIC", "LITERAL", WORKERS_TOPIC, "WRITE")
    yield Right("intake", "GROUP", "LITERAL", "xinliu-intake", "READ")
    # Progress of the view: while it is far behind, intake throttles heavy departments.
    yield Right("intake", "GROUP", "LITERAL", "xinliu-view", "DESCRIBE")
    yield Right("intake", "GROUP", "PREFIXED", "intake.", "READ")


def _view(province: str, departments: Iterable[Department], others: Iterable[str]) -> Iterable[Right]:
    # Only the view publishes the province's shared records and status; it reads the others' status.
    own = exchange_topic(province)
    yield Right("view", "TOPIC", "LITERAL", own, "WRITE")
    # Reads its last checkpoint back to continue from it.
    yield Right("view", "TOPIC", "LITERAL", own, "READ")
    yield Right("view", "TRANSACTIONAL_ID", "LITERAL", own, "WRITE")
    yield Right("view", "TOPIC", "LITERAL", status_topic(province), "WRITE")
    for one in (province, *others):
        yield Right("view", "TOPIC", "LITERAL", status_topic(one), "READ")
    for origin in others:
        # Progress of the other provinces' topics here: the last message, and no other.
        yield Right("view", "TOPIC", "LITERAL", exchange_topic(origin), "READ")
    for topic in ("accepted", "quarantine"):
        yield Right("view", "TOPIC", "LITERAL", topic, "READ")
    # Tombstones for erased records, and nothing else.
    for topic in ("accepted", "changes"):
        yield Right("view", "TOPIC", "LITERAL", topic, "WRITE")
    for department in departments:
        # Their ids and partitions, for 数据截至; not their content.
        yield Right("view", "TOPIC", "LITERAL", department.records_topic, "DESCRIBE")
        yield Right("view", "TOPIC", "LITERAL", department.receipts_topic, "WRITE")
    # Projects operators' events of cases, and writes the due reminders.
    for operation in ("READ", "WRITE"):
        yield Right("view", "TOPIC", "LITERAL", "cases", operation)
    # Projects operations into the audit, and anchors the audit's heads.
    yield from _follows_operations("view")
    yield Right("view", "TOPIC", "LITERAL", WORKERS_TOPIC, "WRITE")
    yield Right("view", "GROUP", "LITERAL", "xinliu-view", "READ")
    yield Right("view", "GROUP", "PREFIXED", "view.", "READ")


def _link(province: str) -> Iterable[Right]:
    for topic in (exchange_topic(province), status_topic(province)):
        yield Right("link", "TOPIC", "LITERAL", topic, "READ")
    # Logs where it is held up, and its losses to its own retention; `xinliu exchange links` shows both.
    for operation in ("READ", "WRITE"):
        yield Right("link", "TOPIC", "LITERAL", WORKERS_TOPIC, operation)
    yield Right("link", "GROUP", "PREFIXED", "link.", "READ")


def _far_link(origin: str) -> Iterable[Right]:
    who = link_principal(origin)
    for topic in (exchange_topic(origin), status_topic(origin)):
        yield Right(who, "TOPIC", "LITERAL", topic, "WRITE")
        # Reads its last record back to continue from it.
        yield Right(who, "TOPIC", "LITERAL", topic, "READ")
    yield Right(who, "GROUP", "PREFIXED", f"{who}.", "READ")


def _follows_operations(who: str) -> Iterable[Right]:
    yield Right(who, "TOPIC", "LITERAL", SHARED_TOPIC, "READ")
    # Events of everybody, also of former operators: they stay valid.
    yield Right(who, "TOPIC", "PREFIXED", PREFIX, "READ")


def _operator(own: str) -> Iterable[Right]:
    # Reads everything, changes nothing but by an event on a topic of its own, or of a case.
    for topic in ("accepted", "quarantine", "changes", "cases"):
        yield Right("operator", "TOPIC", "LITERAL", topic, "READ")
    yield from _follows_operations("operator")
    for topic in (own, "cases"):
        yield Right("operator", "TOPIC", "LITERAL", topic, "WRITE")
    yield Right("operator", "TOPIC", "LITERAL", "*", "DESCRIBE")
    yield Right("operator", "TOPIC", "LITERAL", "*", "DESCRIBE_CONFIGS")
    yield Right("operator", "GROUP", "LITERAL", "*", "DESCRIBE")
    yield Right("operator", "GROUP", "PREFIXED", "operator.", "READ")
    yield Right("operator", "CLUSTER", "LITERAL", "kafka-cluster", "DESCRIBE")


def _steward() -> Iterable[Right]:
    # Carries out requests of two people: reads the logs, and logs its own actions. It owns the tables by its PostgreSQL
    # role.
    for topic in ("accepted", "quarantine"):
        yield Right(STEWARD, "TOPIC", "LITERAL", topic, "READ")
    yield from _follows_operations(STEWARD)
    yield Right(STEWARD, "TOPIC", "LITERAL", STEWARD_TOPIC, "WRITE")
    yield Right(STEWARD, "TOPIC", "LITERAL", "*", "DESCRIBE")
    yield Right(STEWARD, "GROUP", "PREFIXED", f"{STEWARD}.", "READ")


def _report() -> Iterable[Right]:
    yield Right("report", "TOPIC", "LITERAL", "changes", "READ")
    yield Right("report", "GROUP", "PREFIXED", "report.", "READ")
