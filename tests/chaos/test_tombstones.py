"""The view killed between its commit and the tombstones that the commit promised: they come all the same."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from tests.erasing import key, publisher_of, settled, tombstones
from tests.offline import assert_view_is_the_fold
from tests.statements import penalty
from tests.workers import Worker


@pytest.mark.timeout(200)
def test_a_crash_before_the_tombstones_are_published_loses_none(stack: Connection, tmp_path: Path) -> None:
    first = penalty(f"崩{uuid.uuid4().hex}", entity=800_010)
    intake = Worker(stack, "intake", tmp_path)
    try:
        with publisher_of(stack) as publisher:
            publisher.publish(first)
            publisher.revoke(first)
        view = Worker(stack, "view", tmp_path, "--crash-at", "relay.before-publish")
        assert view.wait(90) != 0
        assert tombstones(stack, first["record_id"]) == set()
        for point in ("relay.published", ""):
            view = Worker(stack, "view", tmp_path, *(("--crash-at", point) if point else ()))
            if point:
                assert view.wait(90) != 0
                assert tombstones(stack, first["record_id"]) <= {key(first)}
        assert wait_until(lambda: tombstones(stack, first["record_id"]) == {key(first)}, seconds=60, every=0.5)
        assert wait_until(lambda: settled(stack), seconds=60, every=0.5)
        assert_view_is_the_fold(stack)
    finally:
        for worker in (intake, view):
            worker.stop()
