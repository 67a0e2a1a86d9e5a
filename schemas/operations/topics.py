"""The topics of operations: who may write to each, and so who is the author of an event.

On a cluster with authentication each person has a topic that nobody else can write to, and the workers have one of
their own: the broker vouches for the author of an event as it does for a department's record, whatever the event
claims. On a cluster without it there is the one topic `operations`, and an event is as credible as its process
(docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.operations.operators import PERSONAL, person
from schemas.servers.kafka import Cluster

__all__ = [
    "ADMIN_TOPIC",
    "INSTALLATION",
    "LOOK_AGAIN",
    "PREFIX",
    "REQUEST_DONE",
    "SHARED_TOPIC",
    "STEWARD",
    "STEWARD_TOPIC",
    "WORKERS_TOPIC",
    "WORKER_KINDS",
    "asks",
    "author",
    "believed",
    "may_say",
    "person_topic",
    "principal_of",
    "standing_topics",
    "topic_of",
    "topics_among",
]

SHARED_TOPIC = "operations"
"""Topic of the shared principal `operator`, which is no person; of everybody if the cluster does not authenticate."""
PREFIX = f"{SHARED_TOPIC}."
"""Every topic with this prefix has one writer: a principal that can create topics can create authors."""
WORKERS_TOPIC = f"{PREFIX}workers"
ADMIN_TOPIC = f"{PREFIX}admin"

LOOK_AGAIN = 5.0
"""Seconds between two looks of a follower for new topics of people."""

INSTALLATION = "INSTALLATION_SET"
"""Sets a rule of the whole installation (detail.approval): only the administrator writes it (`xinliu access apply`)."""

STEWARD = "steward"
"""Principal with the owner's rights that carries out requests of two people (streams/workers/steward.py)."""
STEWARD_TOPIC = f"{PREFIX}{STEWARD}"
REQUEST_DONE = "REQUEST_DONE"
"""The steward has carried out or refused a request: detail.request is its id."""

_OF_ONE = {"admin": ADMIN_TOPIC, STEWARD: STEWARD_TOPIC}
_RESERVED = ("workers", *_OF_ONE)
_WORKERS = ("intake", "view", "link")

WORKER_KINDS = frozenset(
    {
        "AUDIT_HEAD",
        "INTAKE_STOPPED",
        "LINK_GAP",
        "LINK_HELD",
        "LINK_RENEWED",
        "LINK_WENT_ON",
        "QUARANTINE_DONE",
        "SCHEMA_SEEN",
    }
)
"""Kinds that only workers write."""
_EITHER = frozenset({"POSITION_LOSS_ACCEPTED"})
"""Kinds that a person writes in a worker's place, with its credentials."""
_STEWARDS = frozenset(
    {
        "QUARANTINE_REDRIVE",
        "REPLAY_ABANDONED",
        "REPLAY_DONE",
        "REPLAY_PROMOTED",
        "REPLAY_ROLLED_BACK",
        "REPLAY_RUNNING",
        REQUEST_DONE,
    }
)
"""Kinds that the steward writes about its own work; it plans, proposes and approves nothing."""


def asks(kafka: Cluster) -> bool:
    """Return whether this cluster authenticates its clients, and so vouches for authors."""
    return kafka.protocol != "PLAINTEXT"


def person_topic(name: str) -> str:
    """Return the topic of a person. Raises UsageError if the name is reserved."""
    if name in _RESERVED:
        raise UsageError(f"no operator can be called {name!r}: {PREFIX}{name} is not a person's topic")
    return PREFIX + name


def principal_of(topic: str) -> str:
    """Return the only principal that writes to this topic; `workers` stands for intake, view and link.

    >>> principal_of("operations.zhang"), principal_of("operations.admin"), principal_of("operations")
    ('operator-zhang', 'admin', 'operator')
    """
    if topic == SHARED_TOPIC:
        return "operator"
    name = topic.removeprefix(PREFIX)
    return name if name in _RESERVED else PERSONAL + name


def topic_of(kafka: Cluster) -> str:
    """Return the topic to which this process writes its events.

    Raises UsageError if the cluster authenticates by certificates alone: the topic's owner would be unknown, and
    readers would skip a worker's events in another topic.
    """
    if not asks(kafka):
        return SHARED_TOPIC
    who = kafka.setting("sasl.username")
    if who is None:
        raise UsageError(
            f"this Kafka speaks {kafka.protocol}, and no name of a principal is known here: events of operations are written by"
            " principals with a name and a password (SASL_SSL, docs/security.md)"
        )
    if who == "operator":
        return SHARED_TOPIC
    if who.startswith(PERSONAL):
        return person_topic(who.removeprefix(PERSONAL))
    return _OF_ONE.get(who, WORKERS_TOPIC)


def topics_among(names: Iterable[str], kafka: Cluster) -> list[str]:
    """Return those of these topics whose events count, sorted."""
    return sorted(name for name in names if name == SHARED_TOPIC or (asks(kafka) and name.startswith(PREFIX)))


def standing_topics(kafka: Cluster) -> tuple[str, ...]:
    """Return the topics of operations that do not depend on the people."""
    return (SHARED_TOPIC, *((WORKERS_TOPIC, *_OF_ONE.values()) if asks(kafka) else ()))


def author(topic: str, by: str) -> str:
    """Return the author of an event of this topic that claims `by`: name@host, of which only the host is trusted.

    >>> author("operations.zhang", "operator-li@desk-7"), author("operations.workers", "view@m1")
    ('operator-zhang@desk-7', 'view@m1')
    """
    principal = principal_of(topic)
    if topic == WORKERS_TOPIC and person(by) in _WORKERS:
        return by
    host = by.rpartition("@")[2] if "@" in by else ""
    return f"{principal}@{host}" if host else principal


def believed(topic: str, operation: Operation, received: datetime, *, vouched: bool) -> Operation | None:
    """Return the event with the author that its topic proves, None if that author may not write it.

    `received` is the broker's time; `vouched` whether the cluster authenticates its clients.
    """
    if not vouched:
        return replace(operation, received=received)
    if not may_say(topic, operation.kind):
        return None
    return replace(operation, by=author(topic, operation.by), received=received, vouched=True)


def may_say(topic: str, kind: str) -> bool:
    """Return whether the author of this topic may write this kind, on a cluster with authentication.

    >>> may_say("operations.workers", "REPLAY_APPROVED"), may_say("operations.li", "REPLAY_APPROVED")
    (False, True)
    """
    if kind in WORKER_KINDS:
        return topic == WORKERS_TOPIC
    if kind == INSTALLATION:
        return topic == ADMIN_TOPIC
    if topic == STEWARD_TOPIC or kind == REQUEST_DONE:
        return topic == STEWARD_TOPIC and kind in _STEWARDS
    return topic != WORKERS_TOPIC or kind in _EITHER
