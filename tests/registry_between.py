"""A registry's address that only reads, and that can lie:
what stands between a client and the registry of a stack, for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from schemas.servers.registry import RegistryAddress

__all__ = ["Between", "between", "swapped"]


@dataclass
class Between:
    """GET goes through, everything else is 403. `lie` is given each schema of Statement,
    and returns what is told of it."""

    url: str = ""
    refused: list[str] = field(default_factory=list)
    """Every write that was tried: method and path."""
    lie: Callable[[Any], Any] = lambda schema: schema


def swapped(schema: Any) -> Any:
    """Return the schema with a penalty's fine and confiscated in each other's place: every byte is still read."""
    penalty = next(field for field in schema["fields"] if field["name"] == "penalty")
    fields = next(branch for branch in penalty["type"] if isinstance(branch, dict))["fields"]
    one, other = (
        next(i for i, known in enumerate(fields) if known["name"] == name) for name in ("fine", "confiscated")
    )
    fields[one], fields[other] = fields[other], fields[one]
    return schema


@contextmanager
def between(registry: RegistryAddress) -> Iterator[Between]:
    """Stand before this registry, on a free port of loopback."""
    known = Between()
    base = registry.url.removesuffix("/apis/ccompat/v7")
    login = None if registry.password is None else (str(registry.user), registry.password.get_secret_value())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = requests.get(
                base + self.path, auth=login, verify=str(registry.ca) if registry.ca else True, timeout=10
            )
            self._answer(answer.status_code, _told(answer.content, known.lie))

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known.refused.append(f"{self.command} {self.path}")
            self._answer(403, b"{}")

        do_POST = do_PUT = do_DELETE = do_PATCH = _refuse

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _told(content: bytes, lie: Callable[[Any], Any]) -> bytes:
    try:
        answer = json.loads(content)
    except ValueError:
        return content
    if isinstance(answer, dict) and isinstance(answer.get("schema"), str):
        schema = json.loads(answer["schema"])
        if isinstance(schema, dict) and schema.get("name") == "Statement":
            answer["schema"] = json.dumps(lie(schema))
    return json.dumps(answer).encode()
