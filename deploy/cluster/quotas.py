"""Quotas of each principal on the brokers, as code: Kafka's client quotas, and the connections of an address.

A right permits an operation, a quota limits its amount: without one a department could fill the disk or the network
that all share. The figures are illustrative, for each broker, and let a mass decision of 70,000 rows pass in half a
minute. librdkafka cannot set client quotas; aiokafka, which the workers read with, sends the two requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.cluster.access import READERS, department_principal, link_principal
from deploy.cluster.acls import AccessChange
from deploy.deadline import wait_until
from schemas.catalogue import Catalogue
from schemas.errors import Retryable, UsageError
from schemas.operations.operators import PERSONAL
from schemas.servers.kafka import Cluster, answer

__all__ = ["BROKER_LIMITS", "Limit", "apply", "plan", "wanted"]

Limit = tuple[str, str | None, str]
"""Kind of the entity (user, ip), its name (None: all without a limit of their own), and the quota's name."""

_MEGABYTE: Final = 1 << 20
_DEPARTMENT = {
    "producer_byte_rate": 4.0 * _MEGABYTE,
    "consumer_byte_rate": 8.0 * _MEGABYTE,
    # Percent of one thread's time: half a thread, of a broker's dozen.
    "request_percentage": 50.0,
}
_LINK = {
    "producer_byte_rate": 32.0 * _MEGABYTE,
    "consumer_byte_rate": 32.0 * _MEGABYTE,
    "request_percentage": 100.0,
}
_READER = {"producer_byte_rate": 1.0 * _MEGABYTE, "consumer_byte_rate": 32.0 * _MEGABYTE, "request_percentage": 100.0}
_ADDRESS = {"connection_creation_rate": 50.0}
"""Per second and address: authentication costs the broker more than any later request of a client."""

BROKER_LIMITS: Final = {"max.connections.per.ip": "1000"}
"""Settings of every broker: they also limit clients that connect and never authenticate."""

_TIMEOUT = 30.0


def wanted(catalogue: Catalogue, province: str, people: Iterable[str] = ()) -> dict[Limit, float]:
    """Return all quotas of a province; the workers have none, since everybody waits for them."""
    users = {department_principal(one.key): _DEPARTMENT for one in catalogue.departments(province)}
    users |= {link_principal(other): _LINK for other in catalogue.provinces if other != province}
    users |= dict.fromkeys((*READERS, *(f"{PERSONAL}{name}" for name in people)), _READER)
    limits: dict[Limit, float] = {
        ("user", who, key): value for who, some in users.items() for key, value in some.items()
    }
    return limits | {("ip", None, key): value for key, value in _ADDRESS.items()}


def plan(cluster: Cluster, limits: Mapping[Limit, float]) -> tuple[AccessChange, ...]:
    """Return the necessary changes, without making them. Undeclared quotas are to be removed."""
    return (*_quota_changes(_held(cluster), limits), *_broker_changes(cluster))


def apply(cluster: Cluster, limits: Mapping[Limit, float]) -> tuple[AccessChange, ...]:
    """Set missing and different quotas and remove undeclared ones; return the changes."""
    held = _held(cluster)
    changes = (*_quota_changes(held, limits), *_broker_changes(cluster))
    differing = {
        limit: limits.get(limit) for limit in held.keys() | limits.keys() if held.get(limit) != limits.get(limit)
    }
    if differing:
        asyncio.run(_alter(cluster, differing))
    _limit_brokers(cluster)
    # The broker answers from its own metadata, which follows the controller's a moment later.
    if changes and not wait_until(lambda: not plan(cluster, limits), seconds=30):
        raise Retryable("the quotas are not in force after 30 s: see Kafka's log (`xinliu status` names it)")
    return changes


def _quota_changes(held: Mapping[Limit, float], limits: Mapping[Limit, float]) -> tuple[AccessChange, ...]:
    new = [limit for limit in limits if held.get(limit) != limits[limit]]
    return (
        *(AccessChange("create", _shown(limit), f"{limit[2]} = {limits[limit]:.0f}") for limit in sorted(new, key=str)),
        *(AccessChange("remove", _shown(limit), limit[2]) for limit in sorted(held.keys() - limits.keys(), key=str)),
    )


def _shown(limit: Limit) -> str:
    kind, name, _ = limit
    return str(name) if kind == "user" and name else f"{kind} {name or '(every)'}"


def _held(cluster: Cluster) -> dict[Limit, float]:
    return asyncio.run(_described(cluster))


async def _described(cluster: Cluster) -> dict[Limit, float]:
    from aiokafka.protocol.admin import DescribeClientQuotasRequest

    answered = await _asked(cluster, DescribeClientQuotasRequest([], False))
    _check(cluster, answered.error_code, answered.error_message)
    # A quota of several entities at once (user and client id) is undeclared here; each of its parts names it.
    return {
        ("+".join(kind for kind, _ in entity), "+".join(map(str, names)) if any(names) else None, key): value
        for entity, values in answered.entries
        for names in [[name for _, name in entity]]
        for key, value in values
    }


async def _alter(cluster: Cluster, differing: Mapping[Limit, float | None]) -> None:
    entities: dict[tuple[str, str | None], list[tuple[str, float, bool]]] = {}
    for (kind, name, key), value in differing.items():
        entities.setdefault((kind, name), []).append((key, value or 0.0, value is None))
    entries = [([(part, name) for part, name in _parts(*entity)], some) for entity, some in entities.items()]
    answered = await _asked(cluster, _alteration(entries))
    for code, message, _ in answered.entries:
        _check(cluster, code, message)


def _parts(kind: str, name: str | None) -> list[tuple[str, str | None]]:
    kinds = kind.split("+")
    names = [None] * len(kinds) if name is None else [None if part == "None" else part for part in name.split("+")]
    return list(zip(kinds, names, strict=True))


def _alteration(entries: list[Any]) -> Any:
    """Return AlterClientQuotas, version 0, in aiokafka's classes: aiokafka itself has only the describing request."""
    from aiokafka.protocol.api import Request, RequestStruct, Response
    from aiokafka.protocol.types import Array, Boolean, Float64, Int16, Int32, Schema, String

    text = String("utf-8")
    entity = ("entity", Array(("entity_type", text), ("entity_name", text)))

    class Answer(Response):  # type: ignore[misc]
        API_KEY, API_VERSION = 49, 0
        SCHEMA = Schema(
            ("throttle_time_ms", Int32),
            ("entries", Array(("error_code", Int16), ("error_message", text), entity)),
        )

    class Alter(RequestStruct):  # type: ignore[misc]
        API_KEY, API_VERSION, RESPONSE_TYPE = 49, 0, Answer
        SCHEMA = Schema(
            ("entries", Array(entity, ("ops", Array(("key", text), ("value", Float64), ("remove", Boolean))))),
            ("validate_only", Boolean),
        )

    class Asking(Request[Alter]):  # type: ignore[misc]
        API_KEY = 49

        def build(self, request_struct_class: Any) -> Any:
            return request_struct_class(entries, False)

    return Asking()


async def _asked(cluster: Cluster, request: Any) -> Any:
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    sasl = cluster.protocol.startswith("SASL_")
    client = AIOKafkaClient(
        bootstrap_servers=cluster.servers,
        security_protocol=cluster.protocol,
        ssl_context=cluster.tls(),
        sasl_mechanism=cluster.setting("sasl.mechanism") if sasl else "PLAIN",
        sasl_plain_username=cluster.setting("sasl.username"),
        sasl_plain_password=cluster.setting("sasl.password"),
        request_timeout_ms=int(_TIMEOUT * 1000),
    )
    try:
        await client.bootstrap()
        return await client.send(client.get_random_node(), request)
    except KafkaError as error:
        raise Retryable(f"Kafka does not answer: {error}", server="kafka") from error
    finally:
        await client.close()


def _check(cluster: Cluster, code: int, message: str | None) -> None:
    if code:
        user = cluster.setting("sasl.username") or "anybody"
        raise UsageError(f"Kafka refused {user} its quotas: {message or f'error {code}'}")


def _broker_changes(cluster: Cluster) -> tuple[AccessChange, ...]:
    return tuple(
        AccessChange("create", f"broker {broker}", f"{name} = {value}")
        for broker, some in _differing_brokers(cluster).items()
        for name, value in some.items()
    )


def _limit_brokers(cluster: Cluster) -> None:
    resources = [
        ConfigResource(
            ResourceType.BROKER,
            broker,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in some.items()
            ],
        )
        for broker, some in _differing_brokers(cluster).items()
        if some
    ]
    if resources:
        admin = _admin(cluster)
        for future in admin.incremental_alter_configs(resources, request_timeout=_TIMEOUT).values():
            _answered(cluster, future)


def _differing_brokers(cluster: Cluster) -> dict[str, dict[str, str]]:
    admin = _admin(cluster)
    try:
        brokers = [str(number) for number in admin.list_topics(timeout=_TIMEOUT).brokers]
    except KafkaException as error:
        raise cluster.failure(error.args[0]) from error
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.BROKER, one) for one in brokers], request_timeout=_TIMEOUT
    )
    held = {resource.name: _answered(cluster, future) for resource, future in asked.items()}
    return {
        broker: {name: value for name, value in BROKER_LIMITS.items() if entries[name].value != value}
        for broker, entries in held.items()
    }


def _answered(cluster: Cluster, future: Any) -> Any:
    try:
        return answer(future, _TIMEOUT + 5)
    except KafkaException as error:
        raise cluster.failure(error.args[0]) from error


def _admin(cluster: Cluster) -> AdminClient:
    return AdminClient(cluster.client({"socket.timeout.ms": 10_000, "log_level": 2}))
