"""Metrics of links: their list, and one collector for all links of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from schemas.metrics import Kind, Metric

__all__ = ["LINK_METRICS", "LinkMetrics"]

_LINK = ("link",)
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0)

UP = Metric(
    "xinliu_link_up", Kind.GAUGE, "0 or 1", ("peer",), _LINK,
    "1 while the link copies; 0 while it waits for a server, its own or the peer's, to try again",
)  # fmt: skip
LAG = Metric(
    "xinliu_link_lag_messages", Kind.GAUGE, "messages", ("peer", "topic"), _LINK,
    "Offsets of the own log that the peer's cluster has not confirmed yet; marks of transactions in between count",
)  # fmt: skip
LAG_SECONDS = Metric(
    "xinliu_link_lag_seconds", Kind.GAUGE, "seconds", ("peer", "topic"), _LINK,
    "For how long the peer's cluster has not had everything; 0 where it has",
)  # fmt: skip
SENT = Metric(
    "xinliu_link_sent_total", Kind.COUNTER, "messages", ("peer", "topic"), _LINK,
    "Messages handed to the peer's cluster; those handed over again after an interruption count again",
)  # fmt: skip
BYTES = Metric(
    "xinliu_link_sent_bytes_total", Kind.COUNTER, "bytes", ("peer", "topic"), _LINK,
    "Bytes of their values, not compressed",
)  # fmt: skip
SECONDS = Metric(
    "xinliu_link_seconds", Kind.HISTOGRAM, "seconds", ("peer", "topic"), _LINK,
    "From the own broker's receipt of a message to the peer's confirmation; the last message of each batch stands for it", _SECONDS,
)  # fmt: skip
RETRIES = Metric(
    "xinliu_link_retries_total", Kind.COUNTER, "tries", ("peer", "server"), _LINK,
    "Tries that ended because a server (own or peer, kafka or registry) did not answer or said no; each is made again, nothing is lost",
)  # fmt: skip
HELD = Metric(
    "xinliu_link_held", Kind.GAUGE, "partitions", ("peer", "topic"), _LINK,
    "Partitions that stand at a message which the peer refuses for good; `xinliu exchange links` names it",
)  # fmt: skip
GAPS = Metric(
    "xinliu_link_gaps_total", Kind.COUNTER, "times", ("peer", "topic"), _LINK,
    "Times that the own retention had deleted what the peer has never had, or that a log was made anew",
)  # fmt: skip

LINK_METRICS = (UP, LAG, LAG_SECONDS, SENT, BYTES, SECONDS, RETRIES, HELD, GAPS)
"""All metrics of links."""


class LinkMetrics(Collector):
    """The instruments of all links of one process; register it with the process's exposition. Safe from any thread."""

    def __init__(self) -> None:
        self.up, self.lag, self.lag_seconds, self.held = (_gauge(m) for m in (UP, LAG, LAG_SECONDS, HELD))
        self.sent, self.bytes, self.retries, self.gaps = (_counter(m) for m in (SENT, BYTES, RETRIES, GAPS))
        self.seconds = Histogram(SECONDS.name, SECONDS.help, SECONDS.labels, registry=None, buckets=SECONDS.buckets)
        self._refreshing: list[Callable[[], None]] = []

    def before_each_look(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each scrape: values that grow with time are current then."""
        self._refreshing.append(refresh)

    def collect(self) -> Iterator[Family]:
        """Yield the families for the Prometheus library."""
        for refresh in tuple(self._refreshing):
            refresh()
        for made in (self.up, self.lag, self.lag_seconds, self.held, self.sent, self.bytes, self.retries, self.gaps):
            yield from made.collect()
        yield from self.seconds.collect()


def _gauge(metric: Metric) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=None)


def _counter(metric: Metric) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=None)
