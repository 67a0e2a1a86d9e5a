"""A TCP proxy whose connections a test can cut, or slow down: a network between a worker and a server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

__all__ = ["Proxy", "proxy"]

_CHUNK = 16_384


class Proxy:
    """Hands bytes on between its own port and a server's, on loopback.

    A Kafka broker tells its clients where it is, and they would go round the proxy: with `advertised` its address in
    what it says is replaced by the proxy's, which is as long.
    """

    def __init__(self, target: int, *, advertised: bool = False) -> None:
        self._target = target
        self._advertised = advertised
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        """Where clients connect."""
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._open = threading.Event()
        self._open.set()
        self.delay = 0.0
        """Seconds by which every chunk of up to 16 KiB is held up."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Break all connections; new ones are taken. Returns how many were broken."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        return len(pairs)

    def refuse(self) -> None:
        """Break all connections and take no new ones until `restore`."""
        self._open.clear()
        self.cut()

    def restore(self) -> None:
        """Take connections again."""
        self._open.set()

    def close(self) -> None:
        """End."""
        self._listener.close()
        with self._lock:
            self._closed = True
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open.is_set():
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self._lock:
                if self._closed:  # since this one was taken
                    client.close()
                    server.close()
                    return
                self._pairs.add((client, server))
            replaced = (_address(self._target), _address(self.port)) if self._advertised else None
            for source, sink, renamed in ((client, server, None), (server, client, replaced)):
                threading.Thread(target=self._hand_on, args=(source, sink, renamed), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket, renamed: tuple[bytes, bytes] | None) -> None:
        waits = threading.Event()
        with suppress(OSError):
            held = b""
            while chunk := source.recv(_CHUNK):
                if renamed is not None:
                    whole = (held + chunk).replace(*renamed)
                    # What may be the beginning of the address waits for its end.
                    size = next((n for n in range(len(renamed[0]) - 1, 0, -1) if whole.endswith(renamed[0][:n])), 0)
                    chunk, held = whole[: len(whole) - size], whole[len(whole) - size :]
                until = monotonic() + self.delay
                if self.delay:
                    waits.wait(until - monotonic())
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _address(port: int) -> bytes:
    # Kafka's protocol: a text, and the port in four bytes behind it.
    return b"127.0.0.1" + port.to_bytes(4, "big")


@contextmanager
def proxy(target: int, *, advertised: bool = False) -> Iterator[Proxy]:
    """Run a proxy for a port on loopback; `advertised`, where the server is a Kafka broker."""
    running = Proxy(target, advertised=advertised)
    try:
        yield running
    finally:
        running.close()
