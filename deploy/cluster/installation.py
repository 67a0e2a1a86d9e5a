"""Rules of a whole installation: authors' topics, and approval by two people; only the administrator sets them."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.cluster import topics
from deploy.cluster.access import ADMIN
from deploy.cluster.acls import AccessChange
from schemas.contracts.registry import Registry
from schemas.operations.log import OperationsWriter, held_operations
from schemas.operations.operators import operator_event
from schemas.operations.topics import INSTALLATION
from schemas.operations.two_people import TwoPeople
from schemas.servers.connection import Approval, Connection

__all__ = ["plan", "settle"]


def plan(connection: Connection, people: Iterable[str], approval: Approval | None) -> list[AccessChange]:
    """Return the changes that `settle` would make. `approval` is the wanted rule, None to keep the present one."""
    news = approval if approval is not None and _said(connection) != approval else None
    return _changes(connection, people, news)


def settle(
    connection: Connection, people: Iterable[str], approval: Approval | None, *, default: Approval | None = None
) -> list[AccessChange]:
    """Create the topics, write the approval rule, and return the changes. `connection` is the administrator's.

    If `approval` is None, the present rule stays; `default` is written if there is none.
    """
    said = _said(connection)
    wanted = approval if approval is not None else default if said is None else None
    news = wanted if wanted != said else None
    changes = _changes(connection, people, news)
    topics.apply(connection.kafka, topics.of_authors(people))
    if news is not None:
        event = operator_event(connection.kafka, INSTALLATION, "xinliu access apply", {"approval": news.model_dump()})
        with Registry(connection.registry) as registry:
            OperationsWriter(connection.kafka, registry).write(event)
    return changes


def _changes(connection: Connection, people: Iterable[str], news: Approval | None) -> list[AccessChange]:
    missing = [one for one in topics.plan(connection.kafka, topics.of_authors(people)) if one.action != "extra"]
    said = [AccessChange("create", ADMIN, _shown(news))] if news is not None else []
    return [*(AccessChange("create", ADMIN, f"{one.action} topic {one.topic}") for one in missing), *said]


def _said(connection: Connection) -> Approval | None:
    with Registry(connection.registry) as registry:
        operations = held_operations(connection.kafka, registry)
    said = any(one.kind == INSTALLATION and one.vouched for one in operations)
    return TwoPeople.of(connection, operations).rule() if said else None


def _shown(approval: Approval) -> str:
    return (
        f"approval by a second person: {f'within {approval.hours:g} hours' if approval.required else 'not asked for'}"
    )
