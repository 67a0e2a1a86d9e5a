"""Reconciling on real servers: from a department's file, through the chain, to the records that differ, by name."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from deploy.deadline import wait_until
from producers.publisher import Publisher, PublisherConfig
from producers.receipts import Receipts
from schemas.catalogue import load
from schemas.contracts.codec import encode, frame
from schemas.identifiers.uscc import generate
from schemas.reconciliation.manifest import ManifestScope, newest, summary
from schemas.servers.connection import Connection
from schemas.store.database import connect
from schemas.store.sql_files import sql
from tests import warm
from tests.integration.test_chain import write_file, xinliu
from tests.offline import assert_view_is_the_fold
from tests.statements import put, registered
from tests.unit.test_manifest import lines
from tests.workers import Worker, environment, workers

KEY = "press"
"""A department that no other test of this module's servers writes for."""


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own."""
    return own_stack


@pytest.fixture(scope="module")
def crew(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, ...]]:
    """Both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view") as started:
        yield started


@pytest.fixture(scope="module")
def running(stack: Connection, crew: tuple[Worker, ...]) -> Connection:
    """The servers with both workers."""
    assert all(worker.runs for worker in crew)
    return stack


def row(number: int, **changes: str) -> dict[str, str]:
    """Return a row of the department's file."""
    authority, name = load().department("beijing", KEY).authorities[0]
    own = {"CF_CFJG": name, "CF_CFJGDM": authority, "CF_SJLY": name, "CF_SJLYDM": authority}
    said = {"CF_WSH": f"账〔2026〕{number}号", "CF_XDR_SHXYM": generate(720_000 + number % 50)}
    return {**said, **own, "更新时间": f"2026-0{1 + number % 6}-02 08:00:00", **changes}


def manifest(connection: Connection, file: Path, *words: str, expect: int = 0, key: str = KEY) -> Any:
    """Run `xinliu reconcile manifest` and return what it said of the one scope."""
    return xinliu(connection, "reconcile", "manifest", str(file), "--department", key, *words, expect=expect)


def lose(store: psycopg.Connection[Any], number: str) -> tuple[UUID, int]:
    """Take a record out of the database, as the owner by hand, without a trace; return its id and version."""
    with store.transaction():
        (gone,) = store.execute(
            "DELETE FROM record WHERE penalty_document_number = %s"
            " RETURNING record_id, version, uscc, domain, digest_hi, digest_lo",
            (number,),
        ).fetchall()
        record_id, version, uscc, domain, high, low = gone
        store.execute("DELETE FROM record_history WHERE record_id = %s", (record_id,))
        store.execute(
            "UPDATE credit_view SET records = records - 1, penalties = penalties - 1, digest_hi = digest_hi # %s,"
            " digest_lo = digest_lo # %s WHERE uscc = %s AND domain = %s",
            (high, low, uscc, domain),
        )
        store.execute("DELETE FROM credit_view WHERE records = 0")
    return record_id, version


def count_anew(connection: Connection) -> None:
    """Let the departments' figures follow from history again: what `lose` took away was counted twice when it came back."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store, store.transaction():
        store.execute("CREATE TEMPORARY TABLE suspect ON COMMIT DROP AS SELECT DISTINCT record_id FROM record_history")
        figures = store.execute(sql("projection/quality")).fetchall()
        store.execute("DELETE FROM quality_day")
        with store.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO quality_day (day, department, measure, bucket, n, shard) VALUES (%s, %s, %s, %s, %s, 0)",
                [tuple(row[:5]) for row in figures],  # type: ignore[index]
            )
        store.execute(
            "INSERT INTO quality_day (day, department, measure, bucket, n, shard)"
            " SELECT day, department, 'VISIBLE', bucket, n, shard FROM quality_day WHERE measure = 'ACCEPTED'"
        )


def named(outcome: Any) -> dict[str, list[str | None]]:
    """Return the differences' places by kind."""
    found: dict[str, list[str | None]] = {}
    for one in outcome["manifests"][0]["differences"]:
        found.setdefault(one["difference"], []).append(one["where"])
    return found


def test_what_differs_is_named_sent_again_and_equal(running: Connection, tmp_path: Path) -> None:
    rows = [row(number) for number in range(500)]
    file = write_file(tmp_path / "all.csv", rows)
    xinliu(running, "publish", str(file), "--department", KEY, "--wait")
    first = manifest(running, file, "--wait")["manifests"][0]
    assert (first["state"], first["stated"], first["held"], first["outside"]) == ("EQUAL", 500, 500, 0)

    # By hand: the file loses three rows and changes two, one of them with no new version; the platform loses one record,
    # and has another in an older version.
    altered = dict(enumerate(rows))
    for number in (10, 11, 12):
        del altered[number]
    altered[20] = row(20, CF_NR="罚款, 已更正", 更新时间="2026-06-20 08:00:00")
    altered[21] = row(21, CF_NR="罚款, 同一版本")
    broken = write_file(tmp_path / "broken.csv", list(altered.values()))
    whole = manifest(running, file, "--all")["manifests"][0]
    assert sum(period["count"] for period in whole["periods"]) == whole["stated"] == 500
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        lose(store, "账〔2026〕30号")
        older = "UPDATE record SET version = version - 1 WHERE penalty_document_number = %s"
        assert store.execute(older, ("账〔2026〕31号",)).rowcount == 1

    found = manifest(running, broken, "--wait", expect=1)
    held = found["manifests"][0]
    assert (held["stated"], held["held"], held["state"], held["unnamed"]) == (497, 499, "DIFFERS", 0)
    lines_of = {number: f"broken.csv:{place + 2}" for place, number in enumerate(altered)}
    assert named(found) == {
        "MISSING": [lines_of[30]],
        "OLDER_HERE": [lines_of[20], lines_of[31]],
        "CONTENT": [lines_of[21]],
        "UNKNOWN": [None, None, None],
    }
    status = xinliu(running, "reconcile", "status", "--department", KEY, expect=1)
    (line,) = status["manifests"]
    counts = {name: line[name] for name in ("missing", "older_here", "content", "unknown", "refused", "newer_here")}
    assert counts == {"missing": 1, "older_here": 2, "content": 1, "unknown": 3, "refused": 0, "newer_here": 0}
    assert (line["state"], line["stated"], line["held"], line["equal"]) == ("DIFFERS", 497, 499, False)
    since = line["open_since"]

    # The whole file again: what the platform lost, or has older, is sent again, and nothing else.
    mended = manifest(running, file, "--resend")
    assert (mended["resent"], mended["manifests"][0]["state"]) == (2, "EQUAL"), mended
    assert {one["where"] for one in mended["mended"]} == {"all.csv:32", "all.csv:33"}
    status = xinliu(running, "reconcile", "status", "--department", KEY, "--closed")
    (line,) = status["manifests"]
    assert (line["state"], line["open_since"], line["stated"], line["held"]) == ("EQUAL", None, 500, 500)
    assert len(status["differences"]) == 7
    assert all(one["opened_at"] == since and one["closed_at"] for one in status["differences"])
    count_anew(running)
    assert_view_is_the_fold(running)


def test_a_refused_record_is_told_with_its_reasons(running: Connection, tmp_path: Path) -> None:
    key = "sports"
    department = load().department("beijing", key)
    authority, name = department.authorities[0]
    own = {"CF_CFJG": name, "CF_CFJGDM": authority, "CF_SJLY": name, "CF_SJLYDM": authority}
    rows = [{**row(n, **own), "CF_WSH": f"体〔2026〕{n}号"} for n in range(20)]
    file = write_file(tmp_path / "a.csv", rows)
    xinliu(running, "publish", str(file), "--department", key, "--wait")
    assert manifest(running, file, "--wait", key=key)["manifests"][0]["state"] == "EQUAL"
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        # As though intake had refused what it let pass: an entry of that very version, and no record.
        record_id, version = lose(store, "体〔2026〕7号")
        store.execute(
            'INSERT INTO quarantine (topic, topic_id, partition, "offset", department, received_at, uscc, record_id,'
            " version, findings, quarantine_partition, quarantine_offset)"
            " VALUES (%s, 'x', 0, -1, %s, now(), 'x', %s, %s, %s, 0, -1)",
            (f"records.{key}", key, record_id.hex, version, Jsonb([{"code": "REQUIRED", "message": "违法事实为空"}])),
        )
    outcome = manifest(running, file, "--resend", expect=1, key=key)
    (one,) = outcome["manifests"][0]["differences"]
    assert (one["difference"], one["where"], one["reasons"]) == ("REFUSED", "a.csv:9", ["REQUIRED: 违法事实为空"])
    assert outcome["resent"] == 0, "it would be refused again"
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        store.execute("DELETE FROM quarantine WHERE topic_id = 'x'")
    assert manifest(running, file, "--resend", key=key)["resent"] == 1
    count_anew(running)
    assert_view_is_the_fold(running)


def test_hostile_manifests_are_refused_and_told(running: Connection) -> None:
    key = "telecom"
    topic, partitions = f"records.{key}", load().department("beijing", key).partitions
    schema_id = registered(running.registry, "xinliu.Manifest")
    made = summary(
        newest(lines({uuid.uuid4().hex: (1, 2, 3)})), key, ManifestScope(key, "PENALTY"), made_at=datetime.now(UTC)
    )
    line = {"record_id": "0" * 32, "version": 1, "digest_hi": 1, "digest_lo": 1}
    absurd = made | {"manifest_id": uuid.uuid4().hex, "buckets": [{"bucket": 0, "count": 1 << 62, "digest_hi": 0, "digest_lo": 0}]}  # fmt: skip
    hostile = [
        made | {"domain": "tax"},
        made | {"department": "tax"},
        made | {"part": 1, "lines": [line] * 1_000_000},
        absurd,
        made | {"manifest_id": "\0" * 32, "bits": -7, "part": 1 << 30, "first_period": "\0"},
        # Lines of a manifest that nobody stated.
        made | {"manifest_id": "f" * 32, "part": 1, "buckets": [], "periods": []},
    ]
    receipts = Receipts(running.kafka, running.registry, key)
    try:
        values = [frame(schema_id, _encoded(one)) for one in hostile]
        values = [value[: 3 << 20] for value in values]  # the broker itself takes no more than 4 MiB
        for partition in range(partitions):
            put(running, topic, list(values), partition=partition)
        with Publisher(PublisherConfig(running.kafka, running.registry, key)) as publisher:
            markers = publisher.mark(datetime.now(UTC))
        refused = [one for told, _ in receipts.watch_past(markers, 60.0) for one in told]
    finally:
        receipts.close()
    codes = sorted(found["code"] for one in refused for found in one["findings"])
    assert codes == sorted(["MANIFEST_SCOPE", "WRONG_DEPARTMENT", "TOO_LARGE", "KEPT_IN_PART"] * partitions)

    def answers() -> dict[str, str | None]:
        reader = Receipts(running.kafka, running.registry, key, from_beginning=True)
        try:
            told = [receipt["reconciliation"] for receipt in reader.held() if receipt["reconciliation"]]
            assert all(one["state"] == "REFUSED" for one in told)
            return {one["manifest_id"]: one["message"] for one in told}
        finally:
            reader.close()

    assert wait_until(lambda: len(answers()) == 3, seconds=30, every=0.5), answers()
    assert "a count below 0 or above" in str(answers()[absurd["manifest_id"]])
    assert "32 hexadecimal digits" in str(answers()["0" * 32])
    assert "belong to no manifest" in str(answers()["f" * 32])
    (row,) = xinliu(running, "reconcile", "status", "--department", key, expect=1)["manifests"]
    assert row["state"] == "REFUSED"


def _encoded(manifest: dict[str, Any]) -> bytes:
    return encode("xinliu.Manifest", manifest)


def test_the_same_manifest_twice_and_one_after_the_other(running: Connection, tmp_path: Path) -> None:
    key = "cyberspace"
    schema_id = registered(running.registry, "xinliu.Manifest")
    made = summary(
        newest(lines({uuid.uuid4().hex: (1, 2, 3)})), key, ManifestScope(key, "PENALTY"), made_at=datetime.now(UTC)
    )
    value = frame(schema_id, _encoded(made))

    def state(manifest: dict[str, Any] = made) -> list[tuple[str, int]]:
        with connect(running.database.get_secret_value(), autocommit=True) as store:
            return store.execute(  # type: ignore[return-value]
                "SELECT state, cardinality(wanted) FROM manifest WHERE manifest_id = %s", (manifest["manifest_id"],)
            ).fetchall()

    put(running, f"records.{key}", [value], partition=0)
    with Publisher(PublisherConfig(running.kafka, running.registry, key)) as publisher:
        publisher.mark(datetime.now(UTC))
    assert wait_until(lambda: state() == [("WAITING", 0)], seconds=30)
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        passed = "SELECT coalesce(min(next_offset), 0) FROM watermark WHERE department = %s"
        assert wait_until(lambda: (store.execute(passed, (key,)).fetchone() or (0,))[0] > 0, seconds=30)  # type: ignore[operator]
    assert state() == [("WAITING", 0)], "it has not come from every partition"
    put(running, f"records.{key}", [value], partition=1)
    assert wait_until(lambda: state() == [("DIFFERS", 1)], seconds=30)
    for partition in (0, 1):
        put(running, f"records.{key}", [value], partition=partition)
    with Publisher(PublisherConfig(running.kafka, running.registry, key)) as publisher:
        second = made | {"manifest_id": uuid.uuid4().hex, "buckets": [], "periods": []}
        publisher.manifest(second)
    assert wait_until(lambda: state(second) == [("EQUAL", 0)], seconds=30)
    (row,) = xinliu(running, "reconcile", "status", "--department", key)["manifests"]
    assert (row["manifest_id"], row["state"]) == (second["manifest_id"], "EQUAL")
    assert state() == [("DIFFERS", 1)], "one that was answered is not compared again"


def test_a_manifest_outlives_the_worker_that_would_have_answered(
    running: Connection, crew: tuple[Worker, ...], tmp_path: Path
) -> None:
    """kill -9 of the view while records and manifest are on their way: the next one answers, and counts all of them."""
    key = "veterans"
    authority, name = load().department("beijing", key).authorities[0]
    own = {"CF_CFJG": name, "CF_CFJGDM": authority, "CF_SJLY": name, "CF_SJLYDM": authority}
    file = write_file(tmp_path / "a.csv", [row(n, **own) | {"CF_WSH": f"退〔2026〕{n}号"} for n in range(200)])
    crew[1].kill()
    xinliu(running, "publish", str(file), "--department", key)
    asking = warm.Popen(
        [sys.executable, "-m", "xinliu", "reconcile", "manifest", str(file), "--department", key, "--wait", "--json"],
        env=environment(running),
        stdout=subprocess.PIPE,
    )
    view = Worker(running, "view", tmp_path)
    try:
        told, _ = asking.communicate(timeout=150)
        (made,) = json.loads(told)["manifests"]
        assert (asking.returncode, made["state"], made["stated"], made["held"]) == (0, "EQUAL", 200, 200), view.log
    finally:
        assert view.stop() == 0
