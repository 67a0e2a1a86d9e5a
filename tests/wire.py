"""Kafka's protocol, request by request: what the broker answers one principal about many resources at once.

Clients hide refusals (a consumer waits, metadata leave out what may not be seen); here every resource has its error
code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreateAclsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from schemas.servers.kafka import Cluster

__all__ = ["FORBIDDEN", "GROUP_OPERATIONS", "TOPIC_OPERATIONS", "Wire", "connected"]

FORBIDDEN = {"TOPIC": 29, "GROUP": 30, "CLUSTER": 31, "TRANSACTIONAL_ID": 53}
"""The broker's error code for "you may not", by kind of resource."""

_MILLISECONDS = 20_000
_ANY, _TOPIC, _CLUSTER, _LITERAL, _ALL, _ALLOW = 1, 2, 4, 3, 2, 3

Codes = dict[str, int]
"""Error code by name of the resource; 0 is done."""


class Wire:
    """One connection as one principal."""

    def __init__(self, connection: AIOKafkaConnection, principal: str) -> None:
        self._connection = connection
        self._principal = principal

    async def _ask(self, request: Any) -> dict[str, Any]:
        answer = await self._connection.send(request)
        return dict(answer.to_object())

    async def write(self, topics: Sequence[str]) -> Codes:
        """Produce one record to each topic."""
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, 0, 1 << 16)
        builder.append(0, timestamp=0, key=b"key", value=b"from a test", headers=[])
        batch = bytes(builder.build())
        answer = await self._ask(ProduceRequest(None, -1, _MILLISECONDS, [(topic, [(0, batch)]) for topic in topics]))
        return _first_partitions(answer["topics"])

    async def read(self, topics: Sequence[str]) -> Codes:
        """Fetch each topic from its beginning."""
        wanted = [(topic, [(0, 0, 1)]) for topic in topics]
        answer = await self._connection.send(FetchRequest(0, 0, 1 << 20, 0, wanted))
        return {topic: partitions[0][1] for topic, partitions in answer.topics}

    async def describe(self, topics: Sequence[str]) -> Codes:
        """Ask where each topic ends."""
        answer = await self._ask(OffsetRequest(-1, 0, [(topic, [(0, -1)]) for topic in topics]))
        return _first_partitions(answer["topics"])

    async def describe_configs(self, topics: Sequence[str]) -> Codes:
        """Ask for each topic's settings."""
        answer = await self._ask(DescribeConfigsRequest([(_TOPIC, topic, None) for topic in topics]))
        return _by(answer["resources"], "resource_name")

    async def alter_configs(self, topics: Sequence[str]) -> Codes:
        """Try to change a setting of each topic."""
        wanted = [(_TOPIC, topic, [("retention.ms", "1000")]) for topic in topics]
        return _by((await self._ask(AlterConfigsRequest(wanted, validate_only=True)))["resources"], "resource_name")

    async def alter(self, topics: Sequence[str]) -> Codes:
        """Try to give each topic more partitions."""
        wanted = [(topic, (50, None)) for topic in topics]
        answer = await self._ask(CreatePartitionsRequest(wanted, _MILLISECONDS, validate_only=True))
        return _by(answer["topic_errors"], "topic")

    async def create(self, topics: Sequence[str]) -> Codes:
        """Try to make topics of these names, with a letter more."""
        wanted = [(f"{topic}x", 1, 1, [], []) for topic in topics]
        answer = await self._ask(CreateTopicsRequest(wanted, _MILLISECONDS, validate_only=True))
        return {name.removesuffix("x"): code for name, code in _by(answer["topic_errors"], "topic").items()}

    async def delete_records(self, topics: Sequence[str]) -> Codes:
        """Delete what stands before the first offset of each topic: nothing, if it is allowed."""
        answer = await self._ask(DeleteRecordsRequest([(topic, [(0, 0)]) for topic in topics], _MILLISECONDS))
        return {t["name"]: t["partitions"][0]["error_code"] for t in answer["topics"]}

    async def delete(self, topics: Sequence[str]) -> Codes:
        """Delete these topics; for real, where it is allowed."""
        answer = await self._ask(DeleteTopicsRequest(list(topics), _MILLISECONDS))
        return _by(answer["topic_error_codes"], "topic")

    async def describe_groups(self, groups: Sequence[str]) -> Codes:
        """Ask who coordinates each group."""
        return await self._each(groups, lambda group: FindCoordinatorRequest(group, 0))

    async def delete_groups(self, groups: Sequence[str]) -> Codes:
        """Delete these groups with their commits; for real, where it is allowed."""
        return _by((await self._ask(DeleteGroupsRequest(list(groups))))["results"], "group_id")

    async def take_part(self, groups: Sequence[str]) -> Codes:
        """Act as a member of each group."""
        return await self._each(groups, lambda group: HeartbeatRequest(group, 0, "nobody"))

    async def transact(self, ids: Sequence[str]) -> Codes:
        """Begin to produce under each transactional id."""
        return await self._each(ids, lambda name: InitProducerIdRequest(name, _MILLISECONDS))

    async def find_transactions(self, ids: Sequence[str]) -> Codes:
        """Ask who coordinates each transactional id."""
        return await self._each(ids, lambda name: FindCoordinatorRequest(name, 1))

    async def produce_idempotently(self) -> int:
        """Ask for a producer id, as every producer of ours does."""
        return int((await self._ask(InitProducerIdRequest(None, _MILLISECONDS)))["error_code"])

    async def list_rights(self) -> int:
        """Ask for all rights."""
        return int((await self._ask(DescribeAclsRequest(_ANY, None, 1, None, None, 1, 1)))["error_code"])

    async def take_rights(self) -> int:
        """Give oneself everything."""
        wanted = CreateAclsRequest(_CLUSTER, "kafka-cluster", _LITERAL, f"User:{self._principal}", "*", _ALL, _ALLOW)
        return int((await self._ask(wanted))["creation_responses"][0]["error_code"])

    async def _each(self, names: Sequence[str], request: Callable[[str], Any]) -> Codes:
        answers = await asyncio.gather(*(self._ask(request(name)) for name in names))
        return {name: answer["error_code"] for name, answer in zip(names, answers, strict=True)}


TOPIC_OPERATIONS: dict[str, tuple[Callable[[Wire, Sequence[str]], Any], ...]] = {
    "WRITE": (Wire.write,),
    "READ": (Wire.read,),
    "DESCRIBE": (Wire.describe,),
    "DESCRIBE_CONFIGS": (Wire.describe_configs,),
    "ALTER_CONFIGS": (Wire.alter_configs,),
    "ALTER": (Wire.alter,),
    "CREATE": (Wire.create,),
    "DELETE": (Wire.delete_records, Wire.delete),
}
GROUP_OPERATIONS: dict[str, Callable[[Wire, Sequence[str]], Any]] = {
    "DESCRIBE": Wire.describe_groups,
    "READ": Wire.take_part,
    "DELETE": Wire.delete_groups,
}


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Wire]:
    """Connect as the cluster's principal."""
    host, _, port = cluster.servers.partition(":")
    connection = await create_conn(
        host,
        int(port),
        ssl_context=cluster.tls(),
        security_protocol=cluster.protocol,
        sasl_mechanism=cluster.setting("sasl.mechanism"),
        sasl_plain_username=cluster.setting("sasl.username"),
        sasl_plain_password=cluster.setting("sasl.password"),
    )
    try:
        yield Wire(connection, cluster.setting("sasl.username") or "ANONYMOUS")
    finally:
        await connection.close()  # TLS says goodbye before the socket is closed


def _first_partitions(topics: Sequence[dict[str, Any]]) -> Codes:
    return {topic["topic"]: topic["partitions"][0]["error_code"] for topic in topics}


def _by(entries: Sequence[dict[str, Any]], name: str) -> Codes:
    return {entry[name]: entry["error_code"] for entry in entries}
