"""Publication of the sample, department by department, and comparison of the result with the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from time import time
from typing import Any

from producers.files.import_file import import_file
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas.catalogue import Catalogue, Department
from schemas.errors import UsageError
from schemas.records.refused_row import PARTITION
from schemas.servers.connection import Connection

__all__ = ["WaveOutcome", "publish_wave"]


@dataclass
class WaveOutcome:
    """The result of one wave. Latencies in milliseconds, from the broker's receipt of a record to its visibility."""

    wave: int
    files: int = 0
    rows: int = 0
    sent: int = 0
    refused: int = 0
    duplicates: int = 0
    older: int = 0
    flagged: int = 0
    refused_by_intake: int = 0
    unexpected: list[str] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    latency_ms: dict[str, int] = field(default_factory=dict)


def publish_wave(
    connection: Connection,
    folder: Path,
    catalogue: Catalogue,
    wave: int,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> WaveOutcome:
    """Publish the files of a wave and wait until every record is visible or refused.

    Raises UsageError if there is no sample in the folder. `unexpected` lists differences from the manifest.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no sample in {folder}: make one with `xinliu sample {folder}`") from None
    files = [file for file in manifest["files"] if file["wave"] == wave]
    by_department: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        by_department.setdefault(file["department"], []).append(file)
    outcome = WaveOutcome(wave)
    latencies: list[float] = []
    for done, (key, expected) in enumerate(by_department.items()):
        progress(done, len(by_department))
        department = catalogue.department(manifest["province"], key)
        latencies.extend(_publish_department(connection, folder, catalogue, department, expected, outcome))
    progress(len(by_department), len(by_department))
    if len(latencies) > 1:
        cuts = quantiles(latencies, n=100)
        outcome.latency_ms = {"p50": round(cuts[49]), "p99": round(cuts[98]), "max": round(max(latencies))}
    return outcome


def _publish_department(
    connection: Connection,
    folder: Path,
    catalogue: Catalogue,
    department: Department,
    files: Iterable[dict[str, Any]],
    outcome: WaveOutcome,
) -> list[float]:
    kafka = connection.acting(f"department-{department.key}").kafka
    config = PublisherConfig(kafka, connection.registry, department.key, linger_ms=5)
    with closing(Receipts(kafka, connection.registry, department.key)) as receipts:
        with Publisher(config, track=True) as publisher:
            for file in files:
                _publish_file(folder / file["file"], department, catalogue, file, publisher, outcome)
            markers = publisher.mark(datetime.now(UTC))
        places = list(zip(*publisher.offsets, publisher.received, strict=True))
        outcome.sent += len(places)
        latencies: list[float] = []
        waiting = places
        for exceptions, reached in receipts.watch_past(markers, 120.0):
            now = time() * 1000
            for exception in exceptions:
                if exception["partition"] == PARTITION:
                    continue  # a row that the import refused: it is in `refused` already
                name = {"REFUSED": "refused_by_intake", "OLDER": "older", "FLAGGED": "flagged"}[exception["outcome"]]
                setattr(outcome, name, getattr(outcome, name) + 1)
            latencies.extend(now - received for p, o, received in waiting if reached.get(p, 0) > o)
            waiting = [place for place in waiting if reached.get(place[0], 0) <= place[1]]
    return latencies


def _publish_file(
    path: Path,
    department: Department,
    catalogue: Catalogue,
    expected: dict[str, Any],
    publisher: Publisher,
    outcome: WaveOutcome,
) -> None:
    found = import_file(path, department, catalogue)
    for _, refusal in found.refusals:
        publisher.refuse(refusal)
    for statement in found.outgoing:
        publisher.publish_encoded(statement.uscc, statement.body)
    outcome.files += 1
    outcome.rows += len(found.table.rows)
    outcome.refused += len(found.refused_lines)
    outcome.duplicates += found.duplicates
    outcome.refusals.extend(
        {"file": path.name, "line": e.line, "column": e.column, "value": e.value, "code": e.code, "reason": e.reason}
        for e in found.errors
    )
    wanted = {(bad["line"], bad["code"]) for bad in expected["bad"]}
    met = {(error.line, error.code) for error in found.errors}
    if not wanted <= met or {line for line, _ in met} != {line for line, _ in wanted}:
        outcome.unexpected.append(f"{path.name}: refused {sorted(met)}, the manifest says {sorted(wanted)}")
