"""The shape of a metric, in which each room lists its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Kind", "Metric"]


class Kind(StrEnum):
    """Type of a metric in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its full name in the exposition, its unit, the labels of its series, and the workers that export it."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    workers: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, in its unit, without +Inf."""

    @property
    def series(self) -> tuple[str, ...]:
        """Return the names of its samples, as a query names them."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}{ending}" for ending in ("_bucket", "_count", "_sum"))
        return (self.name,)
