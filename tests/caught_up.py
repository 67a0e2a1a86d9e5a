"""Waits until the view of a local stack has all that the log holds: `python -m tests.caught_up STACK`."""

from __future__ import annotations

import sys

import psycopg

from deploy.deadline import wait_until
from deploy.local.stack import Stack
from schemas.servers.connection import Connection
from tests.offline import ends_of, view_caught_up


def wait(name: str) -> None:
    """Wait for it, two minutes at most."""
    connection = Stack(name).connection()
    assert wait_until(lambda: view_caught_up(connection) and audited(connection), seconds=120, every=0.5)


def audited(connection: Connection) -> bool:
    """Return whether the audit has taken over every event."""
    with psycopg.connect(connection.database.get_secret_value()) as store:
        last = store.execute('SELECT "offset" FROM xinliu.audit ORDER BY sequence DESC LIMIT 1').fetchone()
    end = ends_of(connection, "operations")[0]
    return (last[0] if last else -1) + 1 == end


if __name__ == "__main__":
    wait(sys.argv[1])
