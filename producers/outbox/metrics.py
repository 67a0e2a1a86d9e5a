"""Prometheus metrics of a relay: a small list of its own, so that a department needs no part of the platform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.outbox.relay import RelayProgress
from schemas.errors import UsageError

__all__ = ["serving"]

_PREFIX = "xinliu_department_outbox"


@contextmanager
def serving(progress: RelayProgress, department: str, port: int, *, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve /metrics while the context lasts; yield the port (0: a free one). Raises UsageError if none is free."""
    registry = CollectorRegistry()
    registry.register(_Shown(progress, department))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(
            f"cannot serve metrics on {host}:{port} ({error.strerror or error}): choose another with --metrics-port"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Shown(Collector):
    """Reads a relay's progress at every scrape."""

    def __init__(self, progress: RelayProgress, department: str) -> None:
        self._progress, self._department = progress, department

    def collect(self) -> Iterator[Metric]:
        known = self._progress
        for name, help, count in (
            ("sent", "Statements confirmed by the broker", known.sent),
            ("refused", "Statements that the broker refused for good", known.refused),
            ("retries", "Rounds that failed because a server did not answer", known.retries),
        ):
            yield self._filled(CounterMetricFamily(f"{_PREFIX}_{name}", help, labels=["department"]), count)
        yield self._gauge("leads", "1 where this relay is the one at work", float(known.leads))
        if known.as_of is not None:
            yield self._gauge(
                "as_of_timestamp_seconds", "数据截至 of the last markers of this relay", known.as_of.timestamp()
            )
        if known.backlog is None or known.looked_at is None:
            return
        yield self._gauge("waiting_rows", "Statements that are committed and not told yet", known.backlog.waiting)
        yield self._gauge("failed_rows", "Statements that a person must settle", known.backlog.failed)
        yield self._gauge("looked_timestamp_seconds", "When these were counted", known.looked_at.timestamp())
        if known.backlog.oldest is not None:
            yield self._gauge(
                "oldest_timestamp_seconds", "When the first that waits was added", known.backlog.oldest.timestamp()
            )

    def _gauge(self, name: str, help: str, value: float) -> Metric:
        return self._filled(GaugeMetricFamily(f"{_PREFIX}_{name}", help, labels=["department"]), value)

    def _filled(self, family: CounterMetricFamily | GaugeMetricFamily, value: float) -> Metric:
        family.add_metric([self._department], value)
        return family
