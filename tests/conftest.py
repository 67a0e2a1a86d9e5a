"""One fixture for the real servers: every integration and chaos test takes `stack`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.examples import CI, LONG

if TYPE_CHECKING:
    from deploy.stack import Stack
    from schemas.connection import Connection


OWN = "own"
"""The part of the tests' local servers that modules have for themselves."""

# From Hypothesis' own defaults, also if the variable CI is set: each run draws anew and keeps what failed in .hypothesis.
# What an example takes, or its making, says nothing: the machine is shared.
for name, number in {"ci": CI, "long": LONG}.items():
    settings.register_profile(
        name,
        settings.get_profile("default"),
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("XINLIU_HYPOTHESIS", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers: takes real servers; given to whatever asks for their fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not {"stack", "_second_servers"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


@pytest.fixture(scope="session")
def backend() -> str:
    """Where the servers come from: `containers` or `local`."""
    return servers.backend()


@pytest.fixture(scope="session")
def stack(backend: str) -> Iterator[Connection]:
    """How to reach a running Kafka, schema registry and PostgreSQL: tables, schemas and topics made, no workers."""
    with servers.containers() if backend == "containers" else servers.local() as connection:
        yield connection


@pytest.fixture(scope="session")
def _second_servers(backend: str) -> Iterator[None]:
    """The local servers that modules have for themselves, one after the other; nothing where there are containers."""
    if backend == "containers":
        yield
        return
    with servers.local(OWN):
        yield


@pytest.fixture(scope="module")
def own_stack(backend: str, _second_servers: None) -> Iterator[Connection]:
    """As `stack`, for one module alone: where tests count what a department or an entity has, others must not add to it."""
    if backend == "containers":
        with servers.containers() as connection:
            yield connection
    else:
        yield servers.emptied(servers.local_stack(OWN))


@pytest.fixture(scope="module")
def own_local_stack(own_stack: Connection, backend: str) -> Stack:
    """The local processes behind `own_stack`, as `local_stack`."""
    return _processes(backend, OWN)


@pytest.fixture(scope="session")
def local_stack(stack: Connection, backend: str) -> Stack:
    """The local processes behind `stack`, for tests that kill one and start it again."""
    return _processes(backend)


def _processes(backend: str, part: str = "") -> Stack:
    if backend != "local":
        pytest.skip("kills server processes, which only the local backend has")
    return servers.local_stack(part)
