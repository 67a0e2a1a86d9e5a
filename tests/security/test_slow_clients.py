"""Clients of the metrics' endpoint that are slow on purpose: whatever they send, and how many they are, it answers and lets go."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import Callable, Iterator
from time import monotonic
from urllib.parse import urlsplit

import pytest

from streams.monitoring import endpoint
from streams.monitoring.endpoint import Outside, serving

_SECONDS = 0.4


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """An endpoint that has little patience."""
    monkeypatch.setattr(endpoint, "_SECONDS", _SECONDS)
    with serving(Outside("view", ()), 0) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


def opened(address: tuple[str, int]) -> socket.socket:
    """Return a connection that waits for an answer in steps."""
    client = socket.create_connection(address, timeout=5)
    client.settimeout(0.05)
    return client


def ended(client: socket.socket) -> bool:
    """Tell whether the other side has let go."""
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


DRIPS: dict[str, Callable[[int], bytes]] = {
    "nothing at all": lambda _: b"",
    "a byte at a time": lambda step: b"GET /metrics HTTP/1.1"[step % 20 : step % 20 + 1],
    "a header at a time": lambda step: b"GET /metrics HTTP/1.1\r\n" if step == 0 else b"X-%d: y\r\n" % step,
    "a line that never ends": lambda step: b"GET /" if step == 0 else b"x" * 50,
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_drip_ends_after_a_total_time(address: tuple[str, int], drip: Callable[[int], bytes]) -> None:
    began, step = monotonic(), 0
    with contextlib.closing(opened(address)) as client:
        while not ended(client):
            assert monotonic() - began < 5.0
            with contextlib.suppress(ConnectionError):
                client.sendall(drip(step))
            step += 1
    assert monotonic() - began >= _SECONDS / 2


def test_many_that_wait_keep_nobody_out(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_MOST", 8)
    waiting = [opened(address) for _ in range(40)]
    try:
        with urllib.request.urlopen("http://{}:{}/metrics".format(*address), timeout=5) as answer:
            assert b"xinliu_ready" in answer.read()
        left = sum(not ended(client) for client in waiting)
        assert left <= 8
    finally:
        for client in waiting:
            client.close()
