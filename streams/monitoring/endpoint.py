"""The HTTP endpoint of a worker: /metrics, /health and /ready, on loopback by default.

It answers from threads of its own, so that it still answers when the worker's event loop is stuck.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from time import monotonic
from typing import Any, Protocol

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from schemas.errors import UsageError
from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import READY, SERVER_ANSWERS, SERVER_ASKED

__all__ = ["Outside", "Plain", "Shown", "Together", "serving"]

log = structlog.get_logger()

_SECONDS = 10.0
"""Longest duration of a connection, from its first byte to the last of the answer."""
_MOST = 64
"""Largest number of open connections."""


class Shown(Protocol):
    """The state of a worker that the endpoint shows."""

    @property
    def worker(self) -> str:
        """The worker's name."""

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series as text, and its content type."""

    def families(self) -> Iterable[Family]:
        """Return the worker's series, without those of the process."""

    def stuck(self) -> list[str]:
        """Return the stuck parts in words; empty if the worker is healthy."""

    def unready(self) -> list[str]:
        """Return why the worker is not ready, in words; empty if it is."""


class Outside:
    """The metrics and the probe of one worker."""

    def __init__(self, worker: str, servers: tuple[str, ...]) -> None:
        self.instruments = Instruments(worker)
        self.probe = Probe(servers)

    @property
    def worker(self) -> str:
        """The worker's name."""
        return self.instruments.worker

    def stuck(self) -> list[str]:
        """Return the stuck parts in words; empty if the worker is healthy."""
        return self.probe.stuck()

    def unready(self) -> list[str]:
        """Return why the worker is not ready, in words; empty if it is."""
        return self.probe.unready()

    def families(self) -> Iterable[Family]:
        """Return the worker's series, without those of the process."""
        self._refresh()
        return self.instruments.collect()

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series as text, and its content type."""
        self._refresh()
        return self.instruments.exposition(accept)

    def _refresh(self) -> None:
        self.instruments.latest(READY).replace({(): float(not self.probe.unready())})
        answers = self.probe.answers()
        self.instruments.latest(SERVER_ANSWERS).replace(
            {(server,): float(answer.why_not is None) for server, answer in answers.items()}
        )
        self.instruments.latest(SERVER_ASKED).replace(
            {(server,): answer.asked for server, answer in answers.items() if answer.asked is not None}
        )


class Plain:
    """A part of a process that has metrics only: it is never stuck and always ready."""

    def __init__(self, worker: str, collector: Collector) -> None:
        self.worker = worker
        self._collector = collector
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    def stuck(self) -> list[str]:
        """Return nothing."""
        return []

    def unready(self) -> list[str]:
        """Return nothing."""
        return []

    def families(self) -> Iterable[Family]:
        """Return its series."""
        return self._collector.collect()

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return its series as text, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class Together(Collector):
    """Several workers in one process: each series gets the label `worker`; the reasons of all are listed."""

    def __init__(self, worker: str, parts: Iterable[Shown]) -> None:
        self.worker = worker
        self.parts: Mapping[str, Shown] = {part.worker: part for part in parts}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def stuck(self) -> list[str]:
        """Return the stuck parts, each with its worker."""
        return [f"{name}: {why}" for name, part in self.parts.items() for why in part.stuck()]

    def unready(self) -> list[str]:
        """Return the reasons of workers that are not ready, each with its worker."""
        return [f"{name}: {why}" for name, part in self.parts.items() for why in part.unready()]

    def families(self) -> Iterable[Family]:
        """Return the series of all workers; those of one name stand in one family."""
        found: dict[str, Family] = {}
        for worker, part in self.parts.items():
            for family in part.families():
                known = found.setdefault(
                    family.name, Family(family.name, family.documentation, family.type, family.unit)
                )
                known.samples += [one._replace(labels={**one.labels, "worker": worker}) for one in family.samples]
        return found.values()

    def collect(self) -> Iterator[Family]:
        """Yield the families for the Prometheus library."""
        yield from self.families()

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series as text, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


@contextmanager
def serving(outside: Shown, port: int, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve while the context lasts; yields the address. Port 0 takes a free one.

    If several workers share the process, each has addresses of its own as well: /intake/metrics shows the intake worker
    alone, so that rules and dashboards need not know the number of processes.

    Raises UsageError if the port cannot be opened.
    """
    try:
        server = _Server((host, port), _handler(outside))
    except OSError as error:
        raise UsageError(
            f"cannot serve metrics on {host}:{port} ({error.strerror or error}): choose another with --metrics-port"
        ) from error
    address = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log.info("metrics.serving", address=address)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Closing must not wait for a client that keeps its connection.
    block_on_close = False
    request_queue_size = _MOST

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Note the begin of a connection."""
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open[request] = monotonic()
            # A client that opens more connections than anybody needs loses the oldest.
            oldest = min(self._open, key=self._open.__getitem__) if len(self._open) > _MOST else None
        if oldest is not None:
            _cut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Forget the connection, and close it."""
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Log nothing about a client that went, or was cut."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def service_actions(self) -> None:
        """Cut connections that are open for too long, even if data still arrives; called twice a second."""
        with self._lock:
            late = [request for request, began in self._open.items() if monotonic() - began > _SECONDS]
        for request in late:
            _cut(request)

    def server_bind(self) -> None:
        # The parent looks up the host's full name, which can take seconds and is never used.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def _cut(request: socket.socket) -> None:
    # The thread that reads or writes gets an error now, and closes the connection.
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _handler(outside: Shown) -> type[BaseHTTPRequestHandler]:
    parts = outside.parts if isinstance(outside, Together) else {}

    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            first, _, rest = path.removeprefix("/").partition("/")
            shown, page = (parts[first], f"/{rest}") if first in parts else (outside, path)
            match page:
                case "/metrics":
                    body, content_type = shown.metrics(self.headers.get("Accept", ""))
                    self._answer(HTTPStatus.OK, body, content_type)
                case "/health":
                    self._judge(shown, "healthy", shown.stuck())
                case "/ready":
                    self._judge(shown, "ready", shown.unready())
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"/metrics, /health or /ready\n", "text/plain")

        def _judge(self, shown: Shown, what: str, reasons: list[str]) -> None:
            status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
            verdict = {"worker": shown.worker, what: not reasons, "reasons": reasons}
            self._answer(status, json.dumps(verdict, ensure_ascii=False).encode() + b"\n", "application/json")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: a question every few seconds is no news."""

    return Handler
