"""Revocation erases: on the real servers nothing of a revoked record's content is left, in the log of truth neither."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.deadline import wait_until
from schemas.contracts.codec import HEADER
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.headers import ORIGIN
from streams.projection.batch import Projection
from streams.projection.staging import staged
from tests import warm
from tests.erasing import key, published, publisher_of, settled, tombstones, values
from tests.offline import assert_view_is_the_fold, log_of
from tests.statements import penalty
from tests.viewstore import of_bodies, opened
from tests.workers import environment, workers

QUICKLY = {
    "segment.ms": "500",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "500",
    "delete.retention.ms": "600000",
}
"""The log cleaner at work within seconds; in earnest it takes a day."""


def configure(connection: Connection, operation: AlterConfigOpType, config: dict[str, str]) -> None:
    """Change the settings of `accepted`."""
    entries = [ConfigEntry(name, value, incremental_operation=operation) for name, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, "accepted", incremental_configs=entries)
    admin = AdminClient(connection.kafka.client({}))
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


@contextmanager
def cleaned_quickly(connection: Connection) -> Iterator[None]:
    """Let the log cleaner run all the time; afterwards as it is declared."""
    configure(connection, AlterConfigOpType.SET, QUICKLY)
    try:
        yield
    finally:
        configure(connection, AlterConfigOpType.DELETE, QUICKLY)
        configure(connection, AlterConfigOpType.SET, {"max.compaction.lag.ms": "86400000"})


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own: all of the log is folded again, and held against all of the tables."""
    return own_stack


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


@pytest.mark.timeout(280)
def test_the_log_cleaner_leaves_no_content_of_a_revoked_record(running: Connection) -> None:
    run = uuid.uuid4().hex
    secret, moved_to = f"须抹去{run}", 800_002
    first = penalty(f"抹{run}", entity=800_001, facts=secret)
    stays = penalty(f"留{run}", entity=800_001, facts=f"须保留{run}")
    assert published(running, [first, stays]) == []
    assert secret.encode() in values(running)
    with publisher_of(running) as publisher:
        corrected = publisher.correct(first, content=f"更正{secret}")
        moved = publisher.correct(corrected, subject={"uscc": generate(moved_to)})
        revoked = publisher.revoke(moved)
    late = {**moved, "version": first["version"] + 5}
    again = published(running, [late, first])
    assert sorted(found["code"] for one in again for found in one["findings"]) == ["OLDER", "OLDER"]
    gone = {key(statement) for statement in (first, corrected, moved, late)}
    assert wait_until(lambda: tombstones(running, first["record_id"]) == gone, seconds=60, every=1.0)
    with cleaned_quickly(running):

        def cleaned() -> bool:
            # The newest segment is never cleaned: each further record may begin a new one.
            fillers = [penalty(f"续{uuid.uuid4().hex}", entity=entity) for entity in (800_001, moved_to, *range(40))]
            assert published(running, fillers) == []
            return secret.encode() not in values(running)

        assert wait_until(cleaned, seconds=180, every=1.0), "the log cleaner has not taken it away"
    left = values(running)
    assert f"须保留{run}".encode() in left, "nothing else is gone"
    held = {m.key() for m in log_of(running, "accepted") if m.value() is not None}
    assert key(revoked) in held
    assert not gone & held
    assert wait_until(lambda: settled(running), seconds=60, every=0.5)
    assert_view_is_the_fold(running)
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute(
            "SELECT version, statement IS NULL FROM record_history WHERE record_id = %s ORDER BY version",
            (first["record_id"],),
        ).fetchall()
        content = store.execute(
            "SELECT count(*) FROM record_history WHERE position(%s::bytea IN statement) > 0", (secret.encode(),)
        ).fetchone()
    assert {version for version, erased in rows if erased} == {s["version"] for s in (first, corrected, moved, late)}
    assert [version for version, erased in rows if not erased] == [revoked["version"]]
    assert content == (0,)
    assert_rebuilt(running)


def assert_rebuilt(connection: Connection) -> None:
    """Fold the log as it is now into empty tables: they must be those that the view has kept."""
    log = [m for m in log_of(connection, "accepted") if m.value() is not None and ORIGIN in dict(m.headers() or [])]
    bodies = [message.value()[HEADER:] for message in log]
    queries = (
        "SELECT record_id, province, department, version, digest_hi, digest_lo, status, uscc, disputed_since, penalty_facts"
        " FROM record ORDER BY 1, 2, 3",
        "SELECT uscc, domain, records, penalties, listings, digest_hi, digest_lo FROM credit_view ORDER BY 1, 2",
        "SELECT DISTINCT record_id, version, digest_hi, digest_lo, statement FROM record_history"
        " WHERE statement IS NOT NULL ORDER BY 1, 2, 3, 4",
    )
    with opened(connection, 997) as fresh, connect(connection.database.get_secret_value(), autocommit=True) as store:
        projection = Projection(fresh)
        for start in range(0, len(bodies), 5_000):
            with fresh.transaction():
                projection.fold(staged(of_bodies(bodies[start : start + 5_000], start))[0])
        for query in queries:
            assert fresh.execute(query).fetchall() == store.execute(query).fetchall()


def test_one_change_by_command(running: Connection, tmp_path: Path) -> None:
    first = penalty(f"改{uuid.uuid4().hex}", entity=800_020)
    published(running, [first])
    body, subject = first["penalty"], first["subject"]
    words = ["--number", body["document_number"], "--uscc", subject["uscc"], "--name", subject["name"]]
    done = warm.run(
        [sys.executable, "-m", "xinliu", "change", "repair", "--department", "tax", "--authority", first["authority"],
         *words, "--wait", "--json"],
        env=environment(running), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f'"record_id": "{first["record_id"]}"' in done.stdout
    assert '"visible": true' in done.stdout
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        status = store.execute("SELECT status FROM record WHERE record_id = %s", (first["record_id"],)).fetchone()
    assert status == ("REPAIRED",)
