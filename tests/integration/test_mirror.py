"""`xinliu quality` and the gauges: the figures of what was really sent, received, refused and shown."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deploy.processes import wait_until
from producers.receipts import Receipts
from schemas.codec import encode, frame
from schemas.connection import Connection
from schemas.store import connect, sql
from tests.offline import view_caught_up
from tests.statements import framed, penalty, put, registered
from tests.workers import environment, workers

DEPARTMENT = "housing-fund"
TOPIC = f"records.{DEPARTMENT}"
TODAY = datetime.now(ZoneInfo("Asia/Shanghai")).date()


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def quality(connection: Connection, *words: str) -> Any:
    """Run the command with --json and return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "xinliu", "quality", "--department", DEPARTMENT, *words, "--json"],
        env=environment(connection),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def publish(connection: Connection, values: list[bytes | None]) -> None:
    """Write messages, and wait until all of them is visible."""
    receipts = Receipts(connection.kafka, connection.registry, DEPARTMENT)
    marker = {"department": DEPARTMENT, "marker_id": uuid.uuid4().hex, "as_of": datetime.now(ZoneInfo("UTC"))}
    message = frame(registered(connection.registry, "xinliu.Marker"), encode("xinliu.Marker", marker))
    try:
        put(connection, TOPIC, values)
        places = {p: put(connection, TOPIC, [message], partition=p)[0][1] for p in (0, 1)}
        for _ in receipts.watch_past(places, 60.0):
            continue
    finally:
        receipts.close()
    assert wait_until(lambda: view_caught_up(connection), seconds=30)


def sent() -> list[dict[str, Any]]:
    """Five publications, of which one is late, a correction, and two contents of one version."""
    run = uuid.uuid4().hex[:6]
    made = [penalty(f"镜{run}-{n}", entity=740_000 + n, key=DEPARTMENT, decided_on=TODAY) for n in range(5)]
    made[0]["penalty"]["decided_on"] = TODAY - timedelta(days=40)
    corrected = penalty(f"镜{run}-1", version=2, entity=740_001, key=DEPARTMENT, decided_on=TODAY)
    rivals = [
        penalty(f"镜{run}-2", version=3, entity=740_002, key=DEPARTMENT, decided_on=TODAY, content=text)
        for text in ("甲", "乙")
    ]
    return [*made, corrected, *rivals]


def test_the_figures_are_those_of_what_was_sent(running: Connection, tmp_path: Path) -> None:
    statements = framed(running, sent())
    publish(running, [*statements, b"not avro", b"not avro"])
    figures = quality(running, "--by", "day")
    assert len(figures) == 1
    (first,) = figures
    shown = {key: value for key, value in first.items() if not key.startswith("visible")}
    assert shown == {
        "department": DEPARTMENT,
        "period_from": TODAY.isoformat(),
        "received": 10,
        "accepted": 8,
        "refused": 2,
        "compliance_rate": 0.8,
        "published": 5,
        "late": 1,
        "not_judged": 0,
        "late_rate": 0.2,
        "corrected": 3,
        "conflicts": 2,
    }
    assert 0 < first["visible_p50"] <= first["visible_p99"] <= 60
    publish(running, list(statements[::-1]))
    assert quality(running, "--by", "day") == figures, "the same again, the other way round, is nothing new"
    month = quality(running)
    assert [(row["period_from"], row["received"]) for row in month] == [(TODAY.replace(day=1).isoformat(), 10)]
    file = tmp_path / "figures.csv"
    quality(running, "--by", "day", "--csv", str(file))
    (line,) = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig")))
    assert (line["received"], line["late_rate"]) == ("10", "0.2000")
    yesterday = TODAY - timedelta(days=1)
    assert quality(running, "--from", yesterday.isoformat(), "--to", yesterday.isoformat()) == []
    with connect(running.database.get_secret_value(), generation=1, autocommit=True) as store:
        gauges = {row[1]: row[2] for row in store.execute(sql("watch/quality")) if row[0] == DEPARTMENT}
        by_view = store.execute("SELECT received, late FROM report.quality WHERE department = %s", (DEPARTMENT,))
        assert by_view.fetchall() == [(10, 1)]
        kept = store.execute("SELECT data_as_of FROM xinliu.vouched WHERE department = %s", (DEPARTMENT,)).fetchall()
        assert kept, "what the source vouched for was noted before its receipt was published"
    assert gauges == {"accepted": 8, "refused": 2, "published": 5, "late": 1, "corrected": 3, "conflicts": 2}
