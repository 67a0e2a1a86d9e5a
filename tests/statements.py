"""Statements for tests: good ones, by number, in the shape of Statement.avsc; and how to put bytes onto real topics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from confluent_kafka import Message, Producer

from schemas.catalogue import Department, load
from schemas.contracts.codec import encode, frame
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.records.identity import record_id, registration_id
from schemas.servers.connection import Connection
from schemas.servers.registry import RegistryAddress

__all__ = ["FIRST_VERSION", "framed", "listing", "penalty", "put", "registration", "state"]

FIRST_VERSION = 1_700_000_000_000
"""A time in milliseconds, as versions are by default: 2023-11-14."""

Statement = dict[str, Any]


def department(key: str = "tax", province: str = "beijing") -> Department:
    """Return a department; of Beijing unless told."""
    return load().department(province, key)


def penalty(
    number: str,
    *,
    version: int = 1,
    entity: int = 0,
    key: str = "tax",
    province: str = "beijing",
    original_entity: int | None = None,
    **content: Any,
) -> Statement:
    """Return a penalty in force: `number` is its document number, `entity` whom it is about."""
    source = department(key, province)
    authority, name = source.authorities[0]
    first = generate(entity if original_entity is None else original_entity)
    return {
        "record_id": record_id(
            kind="PENALTY", province=province, domain=source.domains[0], authority=authority, number=number, uscc=first
        ),
        "version": FIRST_VERSION + version,
        "kind": "PENALTY",
        "status": "IN_FORCE",
        "reason": "PUBLISHED" if version == 1 else "CORRECTED",
        "subject": {"uscc": generate(entity), "name": f"北京第{entity}商贸有限公司", "kind": "法人及非法人组织"},
        "province": province,
        "domain": source.domains[0],
        "department": source.key,
        "authority": authority,
        "stated_at": datetime.fromtimestamp(FIRST_VERSION / 1000, UTC) + timedelta(milliseconds=version),
        "penalty": {
            "document_number": number,
            "violation_type": "未按规定期限办理纳税申报",
            "facts": f"当事人未在规定期限内申报当期税款, 案卷{number}",
            "basis": "《中华人民共和国税收征收管理法》第六十二条",
            "categories": "罚款",
            "content": f"罚款, 第{version}版",
            "fine": Decimal("0.2"),
            "decided_on": date(2026, 1, 1) + timedelta(days=entity % 200),
            "valid_until": date(2099, 12, 31),
            "authority_name": name,
            "source_unit": name,
            "source_unit_code": authority,
            **content,
        },
        "listing": None,
    }


def listing(
    number: str, *, version: int = 1, entity: int = 0, key: str = "tax", province: str = "beijing", **content: Any
) -> Statement:
    """Return a list entry in force."""
    statement = penalty(number, version=version, entity=entity, key=key, province=province)
    body = {
        "list": department(key, province).lists[0],
        "entry_id": number,
        "grounds": f"逃避追缴欠税, {number}",
        "basis": "《重大税收违法失信主体信息公布管理办法》",
        "authority_name": statement["penalty"]["authority_name"],
        "listed_on": date(2026, 2, 1),
        **content,
    }
    return {**statement, "kind": "LISTING", "penalty": None, "listing": body}


def registration(
    *, version: int = 1, entity: int = 0, key: str = "market-regulation", province: str = "beijing", **content: Any
) -> Statement:
    """Return a registration in force; `name`, `uscc` and `subject_kind` are its subject's, the rest its body's."""
    source = department(key, province)
    authority, authority_name = source.authorities[0]
    uscc = content.pop("uscc", generate(entity))
    name = content.pop("name", f"北京第{entity}商贸有限公司")
    return {
        "record_id": registration_id(province, uscc),
        "version": FIRST_VERSION + version,
        "kind": "REGISTRATION",
        "status": "IN_FORCE",
        "reason": "PUBLISHED",
        "subject": {"uscc": uscc, "name": name, "kind": content.pop("subject_kind", "法人及非法人组织")},
        "province": province,
        "domain": "registration",
        "department": source.key,
        "authority": authority,
        "stated_at": datetime.fromtimestamp(FIRST_VERSION / 1000, UTC) + timedelta(milliseconds=version),
        "registration": {"entity_kind": "企业", "since": date(2015, 3, 2), "authority_name": authority_name, **content},
    }


def state(statement: Statement, status: str, *, version: int) -> Statement:
    """Return the statement that a record is REPAIRED or REVOKED: without content."""
    return {
        **statement,
        "status": status,
        "reason": status,
        "version": FIRST_VERSION + version,
        "stated_at": datetime.fromtimestamp(FIRST_VERSION / 1000, UTC) + timedelta(milliseconds=version),
        "penalty": None,
        "listing": None,
        "registration": None,
    }


def registered(address: RegistryAddress | str, name: str) -> int:
    """Return the schema id of one of our contracts in the registry there."""
    with Registry(address) as registry:
        return registry.schema_id(name)


def framed(connection: Connection, statements: Sequence[Statement]) -> list[bytes]:
    """Return the messages, header and all."""
    schema_id = registered(connection.registry, "xinliu.Statement")
    return [frame(schema_id, encode("xinliu.Statement", statement)) for statement in statements]


def put(
    connection: Connection,
    topic: str | Sequence[str],
    values: Sequence[bytes | None],
    *,
    partition: int | None = None,
) -> list[tuple[int, int]]:
    """Write raw messages as a department's own client might, and return where each stands: partition, offset.

    `topic` is that of all of them, or of each.
    """
    topics = [topic] * len(values) if isinstance(topic, str) else topic
    places: list[tuple[int, int]] = [(-1, -1)] * len(values)
    producer = Producer(connection.kafka.client({"acks": "all", "linger.ms": 5, "message.max.bytes": 8 << 20}))
    for number, (where, value) in enumerate(zip(topics, values, strict=True)):

        def delivered(error: object, message: Message, number: int = number) -> None:
            assert error is None, error
            places[number] = (message.partition() or 0, message.offset() or 0)

        rest = {} if partition is None else {"partition": partition}
        while True:
            try:
                producer.produce(where, value, key=str(number).encode(), on_delivery=delivered, **rest)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    return places
