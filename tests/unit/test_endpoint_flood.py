"""The endpoint under clients that say nothing, or little by little: few threads, and none for long."""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from deploy.processes import wait_until
from streams import endpoint
from streams.endpoint import Outside, serving


def connected(address: str) -> socket.socket:
    """Connect and begin a request that never ends."""
    parts = urlsplit(address)
    made = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=5)
    made.sendall(b"GET /metrics HTTP/1.1\r\n")
    return made


def answers(address: str) -> bool:
    """Tell whether it answers whoever asks properly."""
    parts = urlsplit(address)
    asking = HTTPConnection(str(parts.hostname), parts.port, timeout=5)
    try:
        asking.request("GET", "/health")
        return asking.getresponse().status == 200
    except OSError:
        return False
    finally:
        asking.close()


def dripping(one: socket.socket) -> bool:
    """Drip a byte; tell whether the connection is still there."""
    try:
        one.sendall(b"x")
        one.setblocking(False)
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_connection_that_drips_ends_and_few_have_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_LONGEST", 0.5)
    threads = threading.active_count()
    with serving(Outside("intake", ()), 0) as address:
        held = [connected(address) for _ in range(100)]
        try:
            assert threading.active_count() - threads <= 34
            began = time.monotonic()
            assert wait_until(lambda: not any([dripping(one) for one in held]), seconds=10)
            assert time.monotonic() - began < 5
            assert wait_until(lambda: answers(address), seconds=5), "and the others are answered"
        finally:
            for one in held:
                one.close()
