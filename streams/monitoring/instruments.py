"""The instruments of one process: its metrics, as they are counted and as Prometheus reads them.

Each process has its own set, so that tests can make several; there is no global one. All additions are in bulk, once
each batch, never once each record. Safe to use from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from streams.monitoring.metrics import METRICS, Kind, Metric

__all__ = ["Instruments", "Labels", "Latest", "Spread", "Total"]

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of their declaration."""


class Total:
    """A counter: only ever grows."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._lock = threading.Lock()
        self._totals: dict[Labels, float] = {} if metric.labels else {(): 0.0}

    def add(self, more: Mapping[Labels, float]) -> None:
        """Add to some series; adding 0 starts a series, so that its first growth is visible."""
        with self._lock:
            for labels, amount in more.items():
                self._totals[labels] = self._totals.get(labels, 0.0) + amount

    def family(self) -> Family:
        """Return the series as a family of the Prometheus library."""
        family = CounterMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        with self._lock:
            held = dict(self._totals)
        for labels, total in sorted(held.items()):
            family.add_metric(labels, total)
        return family


class Latest:
    """A gauge whose series are replaced all at once: a series that is not named disappears."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._values: Mapping[Labels, float] = {}

    def replace(self, values: Mapping[Labels, float]) -> None:
        """Set the series to these values, and no others."""
        self._values = dict(values)

    def family(self) -> Family:
        """Return the series as a family of the Prometheus library."""
        family = GaugeMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        for labels, value in sorted(self._values.items()):
            family.add_metric(labels, value)
        return family


class Spread:
    """A histogram that takes many values at a time."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._lock = threading.Lock()
        self._bounds = np.array(metric.buckets)
        self._counts: dict[Labels, npt.NDArray[np.int64]] = {}
        self._sums: dict[Labels, float] = {}
        if not metric.labels:
            self.observe((), ())

    def observe(self, labels: Labels, values: Iterable[float]) -> None:
        """Add values, in the metric's unit; a bucket contains values up to and including its bound."""
        array = np.fromiter(values, dtype=np.float64)
        places = np.searchsorted(self._bounds, array, side="left")
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        with self._lock:
            self._counts[labels] = self._counts[labels] + counts if labels in self._counts else counts
            self._sums[labels] = self._sums.get(labels, 0.0) + float(array.sum())

    def family(self) -> Family:
        """Return the series as a family of the Prometheus library."""
        family = HistogramMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        with self._lock:
            held = [(labels, self._counts[labels].cumsum(), self._sums[labels]) for labels in sorted(self._counts)]
        bounds = [*(str(bound) for bound in self._metric.buckets), "+Inf"]
        for labels, counts, total in held:
            family.add_metric(labels, list(zip(bounds, (float(n) for n in counts), strict=True)), total)
        return family


class Instruments(Collector):
    """One instrument for each metric of a worker."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._made: dict[str, Total | Latest | Spread] = {
            metric.name: _made(metric) for metric in METRICS if worker in metric.workers
        }
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def total(self, metric: Metric) -> Total:
        """Return the counter of that metric."""
        made = self._made[metric.name]
        assert isinstance(made, Total)
        return made

    def latest(self, metric: Metric) -> Latest:
        """Return the gauge of that metric."""
        made = self._made[metric.name]
        assert isinstance(made, Latest)
        return made

    def spread(self, metric: Metric) -> Spread:
        """Return the histogram of that metric."""
        made = self._made[metric.name]
        assert isinstance(made, Spread)
        return made

    def collect(self) -> Iterator[Family]:
        """Yield the families for the Prometheus library."""
        for made in self._made.values():
            yield made.family()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series as text, and its content type, in the format that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def _made(metric: Metric) -> Total | Latest | Spread:
    match metric.kind:
        case Kind.COUNTER:
            return Total(metric)
        case Kind.GAUGE:
            return Latest(metric)
        case Kind.HISTOGRAM:
            return Spread(metric)
