"""The topics of operations: who writes which, and so whose word an event is.

On a cluster that asks who everyone is each person has a topic that nobody else writes, and the workers have one of
their own: the broker vouches for the author of an event as it does for a department's record, whatever the event says
of itself. On a cluster that asks nobody there is the one topic `operations`, and an event is worth what its process
says (docs/audit.md).
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
"""Of the shared principal `operator`, which is no person; of everybody where the cluster asks nobody who he is."""
PREFIX = f"{SHARED_TOPIC}."
"""Whatever begins so has one writer: whoever may make topics makes authors."""
WORKERS_TOPIC = f"{PREFIX}workers"
ADMIN_TOPIC = f"{PREFIX}admin"

LOOK_AGAIN = 5.0
"""Seconds after which whoever follows operations looks for topics of people that are new."""

INSTALLATION = "INSTALLATION_SET"
"""What holds for the whole installation (detail.approval): the administrator alone says it,
by `xinliu access apply`."""

STEWARD = "steward"
"""The principal that holds the owner's rights and carries out what two people want (streams/workers/steward.py)."""
STEWARD_TOPIC = f"{PREFIX}{STEWARD}"
REQUEST_DONE = "REQUEST_DONE"
"""The steward has carried a request out, or has not: detail.request is its id."""

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
"""What workers say, and nobody else."""
_EITHER = frozenset({"POSITION_LOSS_ACCEPTED"})
"""What is carried out in a worker's place, with its credentials."""
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
"""What the steward says, of what it does; it plans, proposes and approves nothing."""


def asks(kafka: Cluster) -> bool:
    """Tell whether this cluster asks who everyone is, and so vouches for authors."""
    return kafka.protocol != "PLAINTEXT"


def person_topic(name: str) -> str:
    """Return the topic of a person. Raises UsageError where a person cannot be called so."""
    if name in _RESERVED:
        raise UsageError(f"no operator can be called {name!r}: {PREFIX}{name} is not a person's topic")
    return PREFIX + name


def principal_of(topic: str) -> str:
    """Return the principal that alone writes this topic; `workers` stands for intake, view and link.

    >>> principal_of("operations.zhang"), principal_of("operations.admin"), principal_of("operations")
    ('operator-zhang', 'admin', 'operator')
    """
    if topic == SHARED_TOPIC:
        return "operator"
    name = topic.removeprefix(PREFIX)
    return name if name in _RESERVED else PERSONAL + name


def topic_of(kafka: Cluster) -> str:
    """Return the topic that events of this process are written to.

    Raises UsageError where the cluster asks by certificates alone: whose topic it is nobody could tell,
    and in another one what a worker says would be passed over.
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
    """Return which of these topics hold events that count, sorted."""
    return sorted(name for name in names if name == SHARED_TOPIC or (asks(kafka) and name.startswith(PREFIX)))


def standing_topics(kafka: Cluster) -> tuple[str, ...]:
    """Return the topics of operations that are there whoever the people are."""
    return (SHARED_TOPIC, *((WORKERS_TOPIC, *_OF_ONE.values()) if asks(kafka) else ()))


def author(topic: str, by: str) -> str:
    """Return who an event of this topic is by, where it says that it is by `by`: name@host,
    of which the host alone is believed.

    >>> author("operations.zhang", "operator-li@desk-7"), author("operations.workers", "view@m1")
    ('operator-zhang@desk-7', 'view@m1')
    """
    principal = principal_of(topic)
    if topic == WORKERS_TOPIC and person(by) in _WORKERS:
        return by
    host = by.rpartition("@")[2] if "@" in by else ""
    return f"{principal}@{host}" if host else principal


def believed(topic: str, operation: Operation, received: datetime, *, vouched: bool) -> Operation | None:
    """Return the event as its topic vouches for it, None where its author may say no such thing.

    `received` is the broker's time; `vouched` whether the cluster asks who everyone is.
    """
    if not vouched:
        return replace(operation, received=received)
    if not may_say(topic, operation.kind):
        return None
    return replace(operation, by=author(topic, operation.by), received=received, vouched=True)


def may_say(topic: str, kind: str) -> bool:
    """Tell whether the author of this topic may say that, on a cluster that asks who everyone is.

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
