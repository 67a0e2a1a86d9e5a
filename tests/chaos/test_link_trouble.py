"""A link while lines are cut, clusters go away and come back empty, and a second link runs beside it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from time import monotonic

import pytest

from consumers.links import Link
from deploy.cluster import topics
from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas import catalogue
from schemas.exchange.topics import exchange_topic
from schemas.servers.connection import Connection, Peer
from schemas.servers.kafka import Cluster
from tests import servers
from tests.chaos.proxy import Proxy, proxy
from tests.links import FAR, OWN, Origin, assert_same_log, links_to, log_of, remake, running, whole

pytestmark = pytest.mark.timeout(280)

TOPIC = exchange_topic(OWN)


@pytest.fixture(scope="module")
def far(far_stack: Connection, backend: str) -> Connection:
    """The peer's servers."""
    if backend != "local":
        pytest.skip("kills server processes, which only the local backend has")
    return far_stack


@pytest.fixture(scope="module")
def between(far: Connection) -> Iterator[Proxy]:
    """The line to the peer's cluster."""
    with proxy(int(far.kafka.servers.rpartition(":")[2]), advertised=True) as line:
        yield line


@pytest.fixture
def own(own_stack: Connection, far: Connection, between: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Connection:
    """The origin's servers; it reaches its peer by that line only. All topics are empty."""
    remake(own_stack.kafka)
    remake(far.kafka)
    between.restore()
    between.delay = 0.0
    peer = Peer(kafka=Cluster.of(f"127.0.0.1:{between.port}"), registry=far.registry)
    return links_to(own_stack, tmp_path_factory.mktemp("keys"), **{FAR: peer})


@contextmanager
def flow(own: Connection, *, seed: int) -> Iterator[None]:
    """Let the origin say something all the time; one transaction in ten is aborted."""
    origin, chance, ends = Origin(own, seed=seed), Random(seed), threading.Event()

    def say() -> None:
        while not ends.wait(0.02):
            origin.write(chance.randrange(1, 60), aborted=chance.random() < 0.1)

    with ThreadPoolExecutor(1) as thread:
        saying = thread.submit(say)
        try:
            yield
        finally:
            ends.set()
        saying.result(60)


def for_a_while(seconds: float) -> None:
    """Let it go on."""
    begun = monotonic()
    wait_until(lambda: monotonic() - begun > seconds, seconds=seconds + 1)


def arrived(own: Connection, far: Connection) -> bool:
    """Wait until the far side has everything."""
    return wait_until(lambda: whole(own, far.kafka), seconds=90, every=0.5)


def test_a_line_that_is_cut_slow_and_closed(own: Connection, far: Connection, between: Proxy) -> None:
    chance = Random(11)
    with running(Link(own, FAR)) as link:
        with flow(own, seed=11):
            for _ in range(12):
                for_a_while(chance.uniform(0.1, 0.8))
                match chance.randrange(3):
                    case 0:
                        between.cut()
                    case 1:
                        between.delay = chance.choice((0.0, 0.02, 0.2))
                    case 2:
                        between.refuse()
                        for_a_while(chance.uniform(0.1, 1.5))
                        between.restore()
        between.delay = 0.0
        assert arrived(own, far), link.state
    assert_same_log(own, far)


def test_two_links_of_one_pair_write_twice_and_lose_nothing(own: Connection, far: Connection, between: Proxy) -> None:
    with running(Link(own, FAR)), running(Link(own, FAR)):
        with flow(own, seed=3):
            for _ in range(5):
                for_a_while(0.8)
                between.cut()
        assert arrived(own, far)
    assert assert_same_log(own, far) > 0, "both wrote, or nothing was tried"


def test_a_peer_that_is_down_for_a_while_gets_everything(own: Connection, far: Connection) -> None:
    peer = servers.local_stack("far")
    with running(Link(own, FAR)) as link:
        with flow(own, seed=4):
            for_a_while(1.0)
            peer.kill("kafka")
            assert wait_until(lambda: not link.state.copies and link.state.lag_messages > 0, seconds=40), link.state
            assert link.state.last_error is not None
            assert FAR in link.state.last_error
            behind = link.state.lag_seconds
            assert wait_until(lambda: link.state.lag_seconds > behind + 1, seconds=20), "its lag grows while it waits"
            peer.stop("registry")
            peer.start("kafka")
            peer.start("registry")
        assert arrived(own, far), link.state
    assert_same_log(own, far)


def test_the_own_cluster_is_killed(own: Connection, far: Connection, own_local_stack: Stack) -> None:
    origin = Origin(own)
    with running(Link(own, FAR)) as link:
        origin.write_many(10)
        own_local_stack.kill("kafka")
        assert wait_until(lambda: not link.state.copies, seconds=40), link.state
        own_local_stack.start("kafka")
        Origin(own, seed=9).write_many(10)
        assert arrived(own, far), link.state
    assert_same_log(own, far)


def test_a_peer_that_was_wiped_is_filled_from_the_beginning(own: Connection, far: Connection) -> None:
    peer = servers.local_stack("far")
    origin = Origin(own)
    with running(Link(own, FAR)) as link:
        origin.write_many(20)
        assert arrived(own, far)
        peer.stop("kafka")
        origin.write_many(5)
        shutil.rmtree(peer.kafka.data)
        peer.start("kafka")
        topics.apply(far.kafka, topics.wanted(catalogue.load(), far.province))
        assert arrived(own, far), link.state
        origin.write_many(5)
        assert arrived(own, far), link.state
    assert_same_log(own, far)
    assert sum(map(len, log_of(far.kafka, TOPIC).values())) > 0
