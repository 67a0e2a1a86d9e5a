"""`xinliu quality` and the gauges: the figures of what was really sent, received, refused and shown."""

from __future__ import annotations

import csv
import io
import json
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from producers.receipts import Receipts
from schemas.calendar.periods import china_day
from schemas.contracts.codec import encode, frame
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from tests import warm
from tests.offline import view_caught_up
from tests.statements import framed, penalty, put, registered
from tests.workers import environment, workers

DEPARTMENT = "housing-fund"
TOPIC = f"records.{DEPARTMENT}"
COUNTS = ("received", "accepted", "refused", "published", "late", "not_judged", "corrected", "conflicts")


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def quality(connection: Connection, *words: str) -> Any:
    """Run the command with --json and return what it said."""
    done = warm.run(
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
    marker = {"department": DEPARTMENT, "marker_id": uuid.uuid4().hex, "as_of": datetime.now(UTC)}
    message = frame(registered(connection.registry, "xinliu.Marker"), encode("xinliu.Marker", marker))
    try:
        put(connection, TOPIC, values)
        places = {p: put(connection, TOPIC, [message], partition=p)[0][1] for p in (0, 1)}
        for _ in receipts.watch_past(places, 60.0):
            continue
    finally:
        receipts.close()
    assert wait_until(lambda: view_caught_up(connection), seconds=30)


def sent(today: date) -> list[dict[str, Any]]:
    """Five publications, of which one is late, a correction, and two contents of one version."""
    run = uuid.uuid4().hex[:6]
    made = [penalty(f"镜{run}-{n}", entity=740_000 + n, key=DEPARTMENT, decided_on=today) for n in range(5)]
    made[0]["penalty"]["decided_on"] = today - timedelta(days=40)
    corrected = penalty(f"镜{run}-1", version=2, entity=740_001, key=DEPARTMENT, decided_on=today)
    rivals = [
        penalty(f"镜{run}-2", version=3, entity=740_002, key=DEPARTMENT, decided_on=today, content=text)
        for text in ("甲", "乙")
    ]
    return [*made, corrected, *rivals]


def test_the_figures_are_those_of_what_was_sent(running: Connection, tmp_path: Path) -> None:
    began = china_day(datetime.now(UTC))
    statements = framed(running, sent(began))
    publish(running, [*statements, b"not avro", b"not avro"])
    ended = china_day(datetime.now(UTC))
    figures = quality(running, "--by", "day")
    # One line, or two where midnight came in between: what is counted is the same.
    assert {row["period_from"] for row in figures} <= {began.isoformat(), ended.isoformat()}
    assert {row["department"] for row in figures} == {DEPARTMENT}
    assert {count: sum(row[count] for row in figures) for count in COUNTS} == {
        "received": 10,
        "accepted": 8,
        "refused": 2,
        "published": 5,
        "late": 1,
        "not_judged": 0,
        "corrected": 3,
        "conflicts": 2,
    }
    for row in figures:
        assert row["compliance_rate"] == round(row["accepted"] / row["received"], 4)
        if row["published"]:
            assert row["late_rate"] == round(row["late"] / row["published"], 4)
        if row["accepted"]:
            assert 0 < row["visible_p50"] <= row["visible_p99"] <= 60
    publish(running, list(statements[::-1]))
    assert quality(running, "--by", "day") == figures, "the same again, the other way round, is nothing new"
    month = quality(running)
    assert {row["period_from"] for row in month} <= {day.replace(day=1).isoformat() for day in (began, ended)}
    assert sum(row["received"] for row in month) == 10
    file = tmp_path / "figures.csv"
    quality(running, "--by", "day", "--csv", str(file))
    written = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert [(row["received"], row["late_rate"]) for row in written] == [
        (str(row["received"]), f"{row['late_rate']:.4f}" if row["published"] else "") for row in figures
    ]
    earlier = (began - timedelta(days=1)).isoformat()
    assert quality(running, "--from", earlier, "--to", earlier) == []
    with connect(running.database.get_secret_value(), generation=1, autocommit=True) as store:
        gauges = {row[1]: row[2] for row in store.execute(sql("workers/quality")) if row[0] == DEPARTMENT}
        by_view = store.execute("SELECT received, late FROM report.quality WHERE department = %s", (DEPARTMENT,))
        assert [sum(column) for column in zip(*by_view.fetchall(), strict=True)] == [10, 1]
        kept = store.execute("SELECT data_as_of FROM xinliu.vouched WHERE department = %s", (DEPARTMENT,)).fetchall()
        assert kept, "what the source vouched for was noted before its receipt was published"
    if china_day(datetime.now(UTC)).month == began.month:  # the gauges are of this month alone
        assert gauges == {"accepted": 8, "refused": 2, "published": 5, "late": 1, "corrected": 3, "conflicts": 2}
