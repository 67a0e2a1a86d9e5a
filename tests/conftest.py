"""One fixture for the real servers: every integration and chaos test takes `stack`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from streams.runtime.crash_points import POINTS
from tests import servers, warm
from tests.examples import CI, LONG
from tests.secure import Secure
from tests.secure import running as secure_stack
from tests.workers import SHORT

if TYPE_CHECKING:
    from deploy.local.stack import Stack
    from schemas.servers.connection import Connection


_TOGETHER = {
    "a secure stack": (
        "tests/integration/test_secure_operation.py",
        "tests/security/",
        "tests/integration/test_access.py",  # last: it leaves nothing that works
    ),
    "a far cluster": ("tests/integration/test_links.py", "tests/chaos/test_link_trouble.py"),
}
"""Modules and folders that one lane takes, in this order, by the servers which it starts for them once."""

_LONGEST_FIRST = (
    "tests/integration/test_promote_crashes.py",
    *_TOGETHER["a secure stack"],
    *_TOGETHER["a far cluster"],
    "tests/chaos/test_servers.py",
    "tests/integration/test_provinces.py",
    "tests/integration/test_operations_runbook.py",
    "tests/chaos/test_past.py",
    "tests/integration/test_two_provinces.py",
    "tests/integration/test_lifecycle.py",
    "tests/integration/test_quarantine.py",
    "tests/chaos/test_outbox_relay.py",
    "tests/integration/test_rebuild_kills.py",
    "tests/integration/test_metrics.py",
    "tests/chaos/test_kill.py",
    "tests/chaos/test_crashes.py",
    "tests/chaos/test_exchange_publisher_kills.py",
    "tests/chaos/test_workers.py",
    "tests/integration/test_stack.py",
    "tests/integration/test_cases.py",
)
"""Modules in the order in which lanes take them; all others follow. A long one at the end would run while the other lanes wait."""

# For the workers that a local stack starts; those of tests/workers.py are given an environment of their own.
os.environ["XINLIU_WORKER_SESSION"] = str(SHORT.session)
os.environ["XINLIU_WORKER_IDLE_IN_TRANSACTION"] = str(SHORT.idle_in_transaction)

# As the workers have it. Frames of tests are small: two threads only wait for each other.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# Servers of tests live for minutes: what the second compiler costs them (20 s of CPU for a broker) they never earn.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

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


def _place(nodeid: str) -> int:
    found = (place for place, start in enumerate(_LONGEST_FIRST) if nodeid.startswith(start))
    return next(found, len(_LONGEST_FIRST))


class _Lanes(LoadScopeScheduling):
    """A lane takes a module, or all modules that share servers."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((name for name, starts in _TOGETHER.items() if module.startswith(starts)), module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Lanes:
    """Share the tests out among lanes."""
    return _Lanes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take long first, and mark what takes real servers."""
    items.sort(key=lambda item: _place(item.nodeid))
    for item in items:
        if not {"_servers", "own_stack"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


class _CrashPoints:
    """Tells at the end of a run at which crash points its processes have killed themselves."""

    @staticmethod
    def pytest_sessionfinish(session: pytest.Session) -> None:
        """Hand on what this lane has seen."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["crashed"] = sorted(warm.CRASHED)

    @staticmethod
    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(node: Any) -> None:
        """Take what a lane has seen."""
        warm.CRASHED.update(getattr(node, "workeroutput", {}).get("crashed", ()))

    @staticmethod
    def pytest_terminal_summary(terminalreporter: Any) -> None:
        """Print it."""
        if warm.CRASHED:
            missed = sorted(POINTS.keys() - warm.CRASHED)
            terminalreporter.write_line(
                f"crash points at which a process killed itself: {len(warm.CRASHED)} of {len(POINTS)}"
                + (f"; not: {', '.join(missed)}" if missed else "")
            )


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark of what takes real servers, and count crash points."""
    config.addinivalue_line("markers", "servers: takes real servers; given to whatever asks for their fixtures")
    config.pluginmanager.register(_CrashPoints())


@pytest.fixture(scope="session")
def backend() -> str:
    """Where the servers come from: `containers` or `local`."""
    return servers.backend()


@pytest.fixture(scope="session")
def _servers(backend: str) -> Iterator[Connection]:
    """The servers of this process of the tests."""
    with servers.containers() if backend == "containers" else servers.local() as connection:
        yield connection


@pytest.fixture(scope="session")
def _had_alone() -> set[str]:
    """The modules that had the servers for themselves since they were emptied."""
    return set()


@pytest.fixture(scope="module")
def stack(_servers: Connection, _had_alone: set[str], backend: str) -> Connection:
    """How to reach a running Kafka, schema registry and PostgreSQL: tables, schemas and topics made, no workers.

    What other modules left there that take `stack` is there still; what one left that had the servers for itself is
    not.
    """
    if _had_alone and backend == "local":
        servers.emptied(servers.local_stack())
        _had_alone.clear()
    return _servers


@pytest.fixture(scope="module")
def own_stack(backend: str, request: pytest.FixtureRequest, _had_alone: set[str]) -> Iterator[Connection]:
    """As `stack`, and as good as new: for modules that count what a department or an entity has, or break the servers."""
    if backend == "containers":
        with servers.containers() as connection:
            yield connection
    else:
        request.getfixturevalue("_servers")
        _had_alone.add(request.node.nodeid)
        yield servers.emptied(servers.local_stack())


@pytest.fixture(scope="session")
def far_stack(backend: str) -> Iterator[Connection]:
    """Another province's servers, beside `stack`."""
    with servers.containers() if backend == "containers" else servers.local("far") as connection:
        yield connection


@pytest.fixture(scope="session")
def secure(backend: str) -> Iterator[Secure]:
    """A secure stack with its workers: a test leaves it as it found it, or names entities that no other test names."""
    if backend != "local":
        pytest.skip("certificates, passwords and rights are those of local processes")
    with secure_stack() as running:
        yield running


@pytest.fixture(scope="module")
def own_local_stack(own_stack: Connection, backend: str) -> Stack:
    """The local processes behind `own_stack`, for tests that kill one and start it again."""
    return _processes(backend)


@pytest.fixture(scope="module")
def local_stack(stack: Connection, backend: str) -> Stack:
    """The local processes behind `stack`, for tests that kill one and start it again."""
    return _processes(backend)


def _processes(backend: str) -> Stack:
    if backend != "local":
        pytest.skip("kills server processes, which only the local backend has")
    return servers.local_stack()
