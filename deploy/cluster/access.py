"""Who may do what on the province's cluster, as code: principals and their rights follow from the catalogue.

Nothing here talks to a server. Whatever is not said here is refused: the broker knows no other rights
(deploy/cluster/acls.py takes others away), and no right to refuse is needed.
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
"""Sets up topics, rights and credentials, and does nothing day by day."""
BROKER = "broker"
"""The brokers among themselves."""
SUPER_USERS = (ADMIN, BROKER)
"""Whom the broker asks for no right."""

WORKERS = ("intake", "view", "link", STEWARD)
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


def link_principal(origin: str) -> str:
    """Return as whom the push links of another province write on this one's cluster."""
    return f"link-{origin}"


def principals(catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> tuple[str, ...]:
    """Return every principal of a province's cluster but the super users; `people` are operators with one of their own."""
    links = (link_principal(other) for other in _others(catalogue, province))
    departments = (department_principal(d.key) for d in catalogue.departments(province))
    return (*WORKERS, *READERS, *(f"{PERSONAL}{name}" for name in people), *links, *departments)


def gone(users: Iterable[str], wanted_now: Iterable[str]) -> frozenset[str]:
    """Return the users that were a department's, a province's or a person's and are nobody any more.

    Names that we never give are left alone.
    """
    ours = (department_principal(""), link_principal(""), PERSONAL)
    return frozenset(user for user in users if user.startswith(ours)) - set(wanted_now)


def known_principal(name: str, catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> str:
    """Return the name. Raises UsageError where the province has no such principal."""
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
        # What the shared principal may, but for its topic: he has one of his own,
        # and there the broker vouches for his name.
        rights += [replace(right, principal=who) for right in _operator(person_topic(name))]
        rights.append(Right(who, "GROUP", "PREFIXED", f"{who}.", "READ"))
    rights += _link(province)
    for origin in others:
        rights += _far_link(origin)
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


def _others(catalogue: Catalogue, province: str) -> tuple[str, ...]:
    return tuple(key for key in catalogue.provinces if key != province)


def _intake(departments: Iterable[Department], others: Iterable[str]) -> Iterable[Right]:
    for origin in others:
        yield Right("intake", "TOPIC", "LITERAL", exchange_topic(origin), "READ")
    for department in departments:
        yield Right("intake", "TOPIC", "LITERAL", department.records_topic, "READ")
    for topic in ("accepted", "quarantine"):
        yield Right("intake", "TOPIC", "LITERAL", topic, "WRITE")
    # Takes an entry's value from there when an operator lets it through or has it examined again.
    yield Right("intake", "TOPIC", "LITERAL", "quarantine", "READ")
    # Follows what operators decide and approve, and writes down whom it has stopped itself.
    yield from _follows_operations("intake")
    yield Right("intake", "TOPIC", "LITERAL", WORKERS_TOPIC, "WRITE")
    yield Right("intake", "GROUP", "LITERAL", "xinliu-intake", "READ")
    # How far the view is: while it is far behind, heavy departments rest.
    yield Right("intake", "GROUP", "LITERAL", "xinliu-view", "DESCRIBE")
    yield Right("intake", "GROUP", "PREFIXED", "intake.", "READ")


def _view(province: str, departments: Iterable[Department], others: Iterable[str]) -> Iterable[Right]:
    # Alone says what the province shares, how far it is, and reads how far the others are.
    own = exchange_topic(province)
    yield Right("view", "TOPIC", "LITERAL", own, "WRITE")
    # Reads its last checkpoint back, to go on from there.
    yield Right("view", "TOPIC", "LITERAL", own, "READ")
    yield Right("view", "TRANSACTIONAL_ID", "LITERAL", own, "WRITE")
    yield Right("view", "TOPIC", "LITERAL", status_topic(province), "WRITE")
    for one in (province, *others):
        yield Right("view", "TOPIC", "LITERAL", status_topic(one), "READ")
    for origin in others:
        # How far it has arrived: the last message, and no other.
        yield Right("view", "TOPIC", "LITERAL", exchange_topic(origin), "READ")
    for topic in ("accepted", "quarantine"):
        yield Right("view", "TOPIC", "LITERAL", topic, "READ")
    # Tombstones of what a revocation erases, and nothing else.
    for topic in ("accepted", "changes"):
        yield Right("view", "TOPIC", "LITERAL", topic, "WRITE")
    for department in departments:
        # Their ids and partitions, for 数据截至; not what is in them.
        yield Right("view", "TOPIC", "LITERAL", department.records_topic, "DESCRIBE")
        yield Right("view", "TOPIC", "LITERAL", department.receipts_topic, "WRITE")
    # Projects what operators say of cases, and writes reminders of those that are due.
    for operation in ("READ", "WRITE"):
        yield Right("view", "TOPIC", "LITERAL", "cases", operation)
    # Projects what was done into the audit, and anchors the audit's heads.
    yield from _follows_operations("view")
    yield Right("view", "TOPIC", "LITERAL", WORKERS_TOPIC, "WRITE")
    yield Right("view", "GROUP", "LITERAL", "xinliu-view", "READ")
    yield Right("view", "GROUP", "PREFIXED", "view.", "READ")


def _link(province: str) -> Iterable[Right]:
    for topic in (exchange_topic(province), status_topic(province)):
        yield Right("link", "TOPIC", "LITERAL", topic, "READ")
    # Writes down where it stands still, and what its own retention took from it; `xinliu exchange links` shows it.
    for operation in ("READ", "WRITE"):
        yield Right("link", "TOPIC", "LITERAL", WORKERS_TOPIC, operation)
    yield Right("link", "GROUP", "PREFIXED", "link.", "READ")


def _far_link(origin: str) -> Iterable[Right]:
    who = link_principal(origin)
    for topic in (exchange_topic(origin), status_topic(origin)):
        yield Right(who, "TOPIC", "LITERAL", topic, "WRITE")
        # Reads its last record back, to go on from there.
        yield Right(who, "TOPIC", "LITERAL", topic, "READ")
    yield Right(who, "GROUP", "PREFIXED", f"{who}.", "READ")


def _follows_operations(who: str) -> Iterable[Right]:
    yield Right(who, "TOPIC", "LITERAL", SHARED_TOPIC, "READ")
    # Of everybody, of those too who are no operators any more: what they have said stays said.
    yield Right(who, "TOPIC", "PREFIXED", PREFIX, "READ")


def _operator(own: str) -> Iterable[Right]:
    # Sees everything, changes nothing but by an event on a topic of its own, or of a case.
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
    # Carries out what two people want: reads the logs, and says what it does.
    # The tables are its own by its role of PostgreSQL.
    for topic in ("accepted", "quarantine"):
        yield Right(STEWARD, "TOPIC", "LITERAL", topic, "READ")
    yield from _follows_operations(STEWARD)
    yield Right(STEWARD, "TOPIC", "LITERAL", STEWARD_TOPIC, "WRITE")
    yield Right(STEWARD, "TOPIC", "LITERAL", "*", "DESCRIBE")
    yield Right(STEWARD, "GROUP", "PREFIXED", f"{STEWARD}.", "READ")


def _report() -> Iterable[Right]:
    yield Right("report", "TOPIC", "LITERAL", "changes", "READ")
    yield Right("report", "GROUP", "PREFIXED", "report.", "READ")
