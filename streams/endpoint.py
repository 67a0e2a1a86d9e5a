"""The small HTTP server of a worker: /metrics, /health and /ready, on loopback unless told otherwise.

It answers from threads of its own, so that a worker whose event loop is stuck still says so.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import structlog

from schemas.errors import UsageError
from streams.instruments import Instruments
from streams.metrics import READY, SERVER_ANSWERS, SERVER_ASKED
from streams.probe import Probe

__all__ = ["Outside", "serving"]

log = structlog.get_logger()


class Outside:
    """What one worker shows: its metrics and its state."""

    def __init__(self, worker: str, servers: tuple[str, ...]) -> None:
        self.instruments = Instruments(worker)
        self.probe = Probe(servers)

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series as text, and its content type."""
        self.instruments.latest(READY).replace({(): float(not self.probe.unready())})
        answers = self.probe.answers()
        self.instruments.latest(SERVER_ANSWERS).replace(
            {(server,): float(answer.why_not is None) for server, answer in answers.items()}
        )
        self.instruments.latest(SERVER_ASKED).replace(
            {(server,): answer.asked for server, answer in answers.items() if answer.asked is not None}
        )
        return self.instruments.exposition(accept)


@contextmanager
def serving(outside: Outside, port: int, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve while the context lasts; yields the address. Port 0 takes a free one.

    Raises UsageError where nothing can listen there.
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

    def server_bind(self) -> None:
        # The parent asks the name service for the host's full name, which can take seconds and is used by nobody.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def _handler(outside: Outside) -> type[BaseHTTPRequestHandler]:
    worker = outside.instruments.worker

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    body, content_type = outside.metrics(self.headers.get("Accept", ""))
                    self._answer(HTTPStatus.OK, body, content_type)
                case "/health":
                    self._judge("healthy", outside.probe.stuck())
                case "/ready":
                    self._judge("ready", outside.probe.unready())
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"/metrics, /health or /ready\n", "text/plain")

        def _judge(self, what: str, reasons: list[str]) -> None:
            status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
            verdict = {"worker": worker, what: not reasons, "reasons": reasons}
            self._answer(status, json.dumps(verdict, ensure_ascii=False).encode() + b"\n", "application/json")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: being asked every few seconds is no news."""

    return Handler
