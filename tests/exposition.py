"""What a worker shows, read as Prometheus reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from deploy.deadline import wait_until
from tests.workers import Worker

__all__ = ["Scrape", "address", "is_ready", "judged", "scrape"]

_ADDRESS = re.compile(r"metrics\.serving\s+address=(\S+)")


@dataclass(frozen=True)
class Scrape:
    """All samples of one moment, by name and labels; and what each family says of itself."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]
    families: dict[str, tuple[str, str]]
    """Type and help by name of the family."""

    def value(self, name: str, **labels: str) -> float:
        """Return one sample; 0 where there is no such series."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all series that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    def series(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return all series of a name."""
        return {labels: value for (found, labels), value in self.samples.items() if found == name}


def address(worker: Worker) -> str:
    """Return where a worker that was started with `--metrics-port 0` serves; waits until its log says so."""
    assert wait_until(lambda: _ADDRESS.search(worker.log) is not None or not worker.runs, seconds=30), worker.log
    found = _ADDRESS.search(worker.log)
    assert found is not None, worker.log[-3000:]
    return found[1]


def scrape(url: str) -> Scrape:
    """Read /metrics."""
    answer = requests.get(f"{url}/metrics", timeout=10)
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    return Scrape(
        {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples},
        {family.name: (family.type, family.documentation) for family in families},
    )


def judged(url: str, path: str) -> tuple[int, dict[str, Any]]:
    """Read /health or /ready: status and body."""
    answer = requests.get(f"{url}/{path}", timeout=10)
    return answer.status_code, answer.json()


def is_ready(url: str) -> bool:
    """Tell whether a worker says that it is ready; one that has only just been started says nothing yet."""
    try:
        return judged(url, "ready")[0] == 200
    except requests.ConnectionError:
        return False
