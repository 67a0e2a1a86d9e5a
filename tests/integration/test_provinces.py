"""Two provinces on one machine, secure and wired to each other: who reaches whom, and as whom."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from aiokafka.errors import KafkaError

from deploy.cluster import access, topics
from deploy.local.provinces import Provinces
from schemas import catalogue
from schemas.exchange.keys import Keyring, Signer
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster
from tests import warm
from tests.attempts import differences
from tests.exposition import judged, scrape
from tests.servers import starting
from tests.wire import TOPIC_OPERATIONS, connected

NAMES = ("beijing", "tianjin")
CATALOGUE = catalogue.load()


@pytest.fixture(scope="module")
def two(backend: str) -> Iterator[Provinces]:
    """Two secure provinces with their workers, from empty data."""
    if backend != "local":
        pytest.skip("stacks that share a machine are local processes")
    provinces = Provinces(NAMES, f"two-{os.getpid()}")
    try:
        with starting():
            provinces.up(secure=True)
        yield provinces
    finally:
        provinces.reset()
        assert not provinces.keyring.exists()


def principals(provinces: Provinces, name: str) -> dict[str, Connection]:
    """Return everyone of a province, by name of the principal."""
    connection = provinces.stacks[name].connection()
    folder = provinces.stacks[name].layout.folder / "principals"
    return {file.stem: connection.acting(file.stem) for file in folder.glob("*.json")}


def address(provinces: Provinces, name: str) -> str:
    """Return where a province's worker serves."""
    return f"http://127.0.0.1:{provinces.stacks[name].layout.ports.metrics('province')}"


def test_one_process_shows_all_workers_of_a_province(two: Provinces) -> None:
    for name, peer in (NAMES, NAMES[::-1]):
        url = address(two, name)
        assert judged(url, "ready") == (200, {"worker": "province", "ready": True, "reasons": []})
        assert judged(url, "health") == (200, {"worker": "province", "healthy": True, "reasons": []})
        for part in ("intake", "view"):
            assert judged(f"{url}/{part}", "ready") == (200, {"worker": part, "ready": True, "reasons": []})
            assert scrape(f"{url}/{part}").value("xinliu_ready") == 1.0
        every = scrape(url)
        assert {part: every.value("xinliu_ready", worker=part) for part in ("intake", "view")} == {
            "intake": 1,
            "view": 1,
        }
        assert every.series("xinliu_link_up").keys() == {frozenset({("peer", peer), ("worker", "link")})}
        assert scrape(f"{url}/link").series("xinliu_link_up").keys() == {frozenset({("peer", peer)})}
        assert every.total("process_resident_memory_bytes") > 0
        assert requests.get(f"{url}/nobody/metrics", timeout=10).status_code == 404


def test_each_principal_knows_of_the_exchange_what_it_needs(two: Provinces) -> None:
    for name, peer in (NAMES, NAMES[::-1]):
        known = principals(two, name)
        exchange = {who: connection.exchange for who, connection in known.items() if connection.exchange is not None}
        assert set(exchange) == {"intake", "view", "link", "operator"}
        assert {who for who, one in exchange.items() if one.peers} == {"link"}
        assert {who for who, one in exchange.items() if one.signing_key is not None} == {"view"}
        far = exchange["link"].peers[peer].kafka
        assert far.servers == known_servers(two, peer)
        assert far.setting("sasl.username") == f"link-{name}"
        key = exchange["view"].signing_key
        assert key is not None
        assert key.stat().st_mode & 0o077 == 0
        assert Signer.from_file(key).province == name
        assert Keyring(two.keyring)._key(name, Signer.from_file(key).key_id) is not None
    assert len(list(two.keyring.iterdir())) == len(NAMES)


def known_servers(provinces: Provinces, name: str) -> str:
    """Return where a province's cluster is."""
    return provinces.stacks[name].connection().kafka.servers


async def comes_in(cluster: Cluster) -> bool:
    """Tell whether a principal gets as far as being asked what it wants."""
    try:
        async with connected(cluster):
            return True
    except (KafkaError, OSError):
        return False


# aiokafka leaves the socket of a login that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_of_one_province_comes_in_at_another_but_its_links(two: Provinces) -> None:
    tries = 0
    for name, other in (NAMES, NAMES[::-1]):
        there = two.stacks[other]
        ca = str(there.layout.tls / "ca.pem")
        for who, connection in principals(two, name).items():
            # As it is known at home, at the other's door; that it takes the other's certificate is the best case.
            security = {**connection.kafka.model_dump()["security"], "ssl.ca.location": ca}
            assert asyncio.run(comes_in(connection.kafka)), f"{who} of {name} at home"
            away = Cluster.model_validate({"servers": known_servers(two, other), "security": security})
            assert not asyncio.run(comes_in(away)), f"{who} of {name} at {other}"
            tries += 1
    gc.collect()
    assert tries == sum(len(access.principals(CATALOGUE, name)) + 1 for name in NAMES)  # and the admin


def test_a_link_may_do_on_every_topic_of_another_what_is_declared_and_nothing_else(two: Provinces) -> None:
    for name, other in (NAMES, NAMES[::-1]):
        exchange = principals(two, name)["link"].exchange
        assert exchange is not None
        names = [topic.name for topic in topics.wanted(CATALOGUE, other)]
        rights = access.wanted(CATALOGUE, other)
        two.stacks[other].stop("worker-province")  # what is tried is no run, and would be taken for a broken one
        tries, wrong = asyncio.run(
            differences(exchange.peers[other].kafka, rights, f"link-{name}", "TOPIC", names, TOPIC_OPERATIONS)
        )
        assert wrong == []
        assert tries == len(names) * 9
        may = {t for t in names if access.permits(rights, f"link-{name}", "TOPIC", t, "WRITE")}
        assert may == {f"exchange.{name}", f"status.{name}"}


def test_up_again_starts_what_does_not_run_and_changes_nothing_else(two: Provinces) -> None:
    before = {
        name: {s.name: s.pid for s in servers if "worker" not in s.name} for name, servers in two.status().items()
    }
    known = {name: stack.connection() for name, stack in two.stacks.items()}
    two.stacks["tianjin"].up()  # alone: it stays one of the two
    assert {name: stack.connection() for name, stack in two.stacks.items()} == known
    done = subprocess.run(
        [sys.executable, "-m", "xinliu", "--stack", two.prefix, "up", "--provinces", ",".join(NAMES), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["provinces"]) == set(NAMES)
    after = {name: {s.name: s.pid for s in servers if "worker" not in s.name} for name, servers in two.status().items()}
    assert after == before
    assert {name: stack.connection() for name, stack in two.stacks.items()} == known
    ended = [server for servers in two.status().values() for server in servers if not server.pid]
    assert ended == [], [Path(server.log).read_text(errors="replace")[-4000:] for server in ended]


def test_no_secret_of_the_exchange_is_shown(two: Provinces) -> None:
    secrets = {
        connection.kafka.setting("sasl.password") or ""
        for name in NAMES
        for connection in principals(two, name).values()
    }
    for name, stack in two.stacks.items():
        shown = warm.run(
            [sys.executable, "-m", "xinliu", "--stack", stack.name, "config"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == 0
        texts = [shown.stdout, *(log.read_text(errors="replace") for log in (stack.layout.folder / "logs").iterdir())]
        assert not any(secret in text for secret in secrets for text in texts), name
    for file in [f for stack in two.stacks.values() for f in stack.layout.folder.glob("*.json")]:
        assert file.stat().st_mode & 0o077 == 0, file
        assert isinstance(file, Path)
