"""Topics of a province's cluster, as code: they follow from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from deploy.deadline import wait_until
from schemas.catalogue import Catalogue
from schemas.errors import Retryable, UsageError
from schemas.exchange.topics import EXCHANGE_PARTITIONS, exchange_topic, status_topic
from schemas.operations.topics import ADMIN_TOPIC, SHARED_TOPIC, STEWARD_TOPIC, WORKERS_TOPIC, person_topic
from schemas.servers.kafka import Cluster, answer

__all__ = ["Topic", "TopicChange", "apply", "of_authors", "plan", "wanted"]

_DAY = 86_400_000
_TIMEOUT = 30.0

_MOST_RECORDS = 4 << 30
"""Maximum bytes of a partition of a department: beyond them its own oldest records go first, so that it fills no disk
that others need. Eight million statements; at its quota (deploy/cluster/quotas.py) a quarter of an hour of nothing but
junk.
"""

_EVERY = {
    # Broker time: no department can claim an earlier receipt.
    "message.timestamp.type": "LogAppendTime",
}
_KEEP = {"cleanup.policy": "delete", "retention.ms": "-1"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A declared topic."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """A difference from the declaration; `action` is create, configure, extend, impossible or extra."""

    action: str
    topic: str
    detail: str


def wanted(catalogue: Catalogue, province: str) -> tuple[Topic, ...]:
    """Return all topics of a province."""
    topics = [
        # The log of truth: only exact duplicates, and records that a tombstone erases, ever leave it. Erased ones are
        # gone from the disks within a day, however quiet the topic is.
        Topic(
            "accepted",
            EXCHANGE_PARTITIONS,
            {"cleanup.policy": "compact", "max.compaction.lag.ms": str(_DAY), "max.message.bytes": str(4 << 20)},
        ),
        Topic("quarantine", 1, {"retention.ms": str(365 * _DAY), "max.message.bytes": str(8 << 20)}),
        Topic("changes", 1, {"cleanup.policy": "compact"}),
        Topic(SHARED_TOPIC, 1, _KEEP),
        Topic("cases", 1, _KEEP),
    ]
    # Not compacted: a run with holes could not be compared with its checkpoint (decision 040).
    exchanged = {"retention.ms": str(30 * _DAY), "max.message.bytes": str(4 << 20)}
    for one in catalogue.provinces:
        topics.append(Topic(exchange_topic(one), EXCHANGE_PARTITIONS, exchanged))
        topics.append(Topic(status_topic(one), 1, {"retention.ms": str(30 * _DAY)}))
    for department in catalogue.departments(province):
        records = {
            "retention.ms": str(90 * _DAY),
            "retention.bytes": str(_MOST_RECORDS),
            "max.message.bytes": str(4 << 20),
        }
        topics.append(Topic(department.records_topic, department.partitions, records))
        topics.append(Topic(department.receipts_topic, 1, {"retention.ms": str(90 * _DAY)}))
    return tuple(Topic(topic.name, topic.partitions, {**_EVERY, **topic.config}) for topic in topics)


def of_authors(people: Iterable[str]) -> tuple[Topic, ...]:
    """Return the topics of operations on a cluster with authentication: for workers, administrator and people."""
    names = (WORKERS_TOPIC, STEWARD_TOPIC, ADMIN_TOPIC, *(person_topic(name) for name in people))
    return tuple(Topic(name, 1, {**_EVERY, **_KEEP}) for name in names)


def plan(kafka: Cluster, topics: Sequence[Topic]) -> tuple[TopicChange, ...]:
    """Return the necessary changes on the cluster, without making them."""
    admin = _admin(kafka)
    existing = _existing(admin, kafka)
    configs = _configs(admin, [topic.name for topic in topics if topic.name in existing])
    changes: list[TopicChange] = []
    for topic in topics:
        if topic.name not in existing:
            changes.append(TopicChange("create", topic.name, f"{topic.partitions} partitions, {_shown(topic.config)}"))
            continue
        count = existing[topic.name]
        if count < topic.partitions and topic.name == "accepted":
            changes.append(
                TopicChange(
                    "impossible",
                    topic.name,
                    f"{count} partitions, {topic.partitions} wanted: keys would change their partition",
                )
            )
        elif count < topic.partitions:
            changes.append(TopicChange("extend", topic.name, f"{count} → {topic.partitions} partitions"))
        elif count > topic.partitions:
            changes.append(
                TopicChange(
                    "impossible",
                    topic.name,
                    f"{count} partitions, {topic.partitions} wanted: Kafka cannot take any away",
                )
            )
        differing = {name: value for name, value in topic.config.items() if configs[topic.name].get(name) != value}
        if differing:
            changes.append(TopicChange("configure", topic.name, _shown(differing)))
    names = {topic.name for topic in topics}
    changes.extend(
        TopicChange("extra", name, "not in the catalogue; left alone")
        for name in sorted(existing)
        if name not in names and not name.startswith("__")
    )
    return tuple(changes)


def apply(kafka: Cluster, topics: Sequence[Topic]) -> tuple[TopicChange, ...]:
    """Create, extend and configure topics as planned, and return the changes. Never deletes anything."""
    changes = plan(kafka, topics)
    admin = _admin(kafka)
    by_name = {topic.name: topic for topic in topics}
    new = [by_name[change.topic] for change in changes if change.action == "create"]
    more = [by_name[change.topic] for change in changes if change.action == "extend"]
    other = [by_name[change.topic] for change in changes if change.action == "configure"]
    futures: dict[Any, Any] = {}
    if new:
        futures |= admin.create_topics(
            [NewTopic(t.name, num_partitions=t.partitions, replication_factor=-1, config=dict(t.config)) for t in new],
            request_timeout=_TIMEOUT,
        )
    if more:
        futures |= admin.create_partitions(
            [NewPartitions(t.name, t.partitions) for t in more], request_timeout=_TIMEOUT
        )
    if other:
        futures |= admin.incremental_alter_configs([_resource(topic) for topic in other], request_timeout=_TIMEOUT)
    for what, future in futures.items():
        try:
            answer(future, _TIMEOUT + 5)
        except KafkaException as error:
            raise UsageError(f"Kafka refused {what}: {error.args[0].str()}") from error
    _await_leaders(admin, [*new, *more])
    return changes


def _await_leaders(admin: AdminClient, topics: Sequence[Topic]) -> None:
    # A topic is announced before its partitions have leaders, and would refuse a request for offsets until then.
    asked = {TopicPartition(t.name, p): OffsetSpec.latest() for t in topics for p in range(t.partitions)}
    if not asked:
        return

    def led() -> bool:
        try:
            for future in admin.list_offsets(asked, request_timeout=_TIMEOUT).values():
                answer(future, _TIMEOUT + 5)
        except KafkaException:
            return False
        return True

    if not wait_until(led, seconds=60):
        raise Retryable("the new topics have no leaders after 60 s: see Kafka's log (`xinliu status` names it)")


def _resource(topic: Topic) -> ConfigResource:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in topic.config.items()
    ]
    return ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)


def _admin(kafka: Cluster) -> AdminClient:
    return AdminClient(kafka.client({"socket.timeout.ms": 10_000, "log_level": 2}))


def _existing(admin: AdminClient, kafka: Cluster) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=15).topics
    except KafkaException as error:
        raise kafka.failure(error.args[0]) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    found = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=_TIMEOUT
    )
    return {
        resource.name: {name: entry.value for name, entry in answer(future, _TIMEOUT + 5).items()}
        for resource, future in found.items()
    }


def _shown(config: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(config.items()))
