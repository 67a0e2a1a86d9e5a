"""The registry in memory keeps the rules of a real one."""

from __future__ import annotations

import pytest

from schemas.contracts.avro import CONTRACTS, fingerprint, source
from schemas.contracts.codec import NotDecodable
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.contracts.registry import Registry
from schemas.errors import UsageError


def test_it_answers_everything_that_a_registry_answers() -> None:
    public = {name for name, member in vars(Registry).items() if callable(member) and not name.startswith("_")}
    assert public - {"believed", "read"} <= vars(MemoryRegistry).keys(), "those two ask the others alone"


@pytest.mark.parametrize("name", CONTRACTS)
def test_registering_again_changes_nothing(name: str) -> None:
    registry = MemoryRegistry()
    schema_id = registry.register(name)
    assert registry.register(name) == schema_id
    assert registry.versions(name) == {1: source(name)}
    writer = registry.writer(schema_id)
    assert (writer.id, writer.name, writer.fingerprint) == (schema_id, name, fingerprint(source(name)))


def test_what_it_does_not_hold_is_unknown() -> None:
    with pytest.raises(NotDecodable) as refused:
        MemoryRegistry().writer(1)
    assert refused.value.code == "UNKNOWN_SCHEMA"
    assert MemoryRegistry().versions("xinliu.Marker") == {}


def test_a_version_that_breaks_is_refused_unless_unchecked() -> None:
    registry = MemoryRegistry()
    registry.register("xinliu.Marker")
    broken = source("xinliu.Marker")
    broken["fields"].append({"name": "mood", "type": "string"})
    with pytest.raises(UsageError, match=r"xinliu\.Marker is not compatible"):
        registry.add(broken)
    assert registry.add(broken, checked=False) == 2
    assert list(registry.versions("xinliu.Marker")) == [1, 2]


def test_what_is_handed_out_can_be_changed_without_harm() -> None:
    registry = MemoryRegistry()
    registry.register("xinliu.Marker")
    registry.versions("xinliu.Marker")[1]["fields"].clear()
    assert registry.versions("xinliu.Marker") == {1: source("xinliu.Marker")}
