"""What vouches for a backup, without servers: the events that name its digest, and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.backup import log as backup_log
from schemas.errors import UsageError
from schemas.operations.event import Operation
from schemas.servers.connection import Connection
from schemas.servers.registry import RegistryAddress

HERE = Connection(province="beijing", kafka="h:1", registry=RegistryAddress(url="http://h:2"))  # type: ignore[arg-type]


@pytest.mark.parametrize("junk", [None, "database", ["database"], {"database": ["x"]}, {"registry": "abc"}])
def test_an_event_that_is_not_whole_vouches_for_nothing_and_stops_nobody(
    junk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [made({"manifests": junk}), made({})]
    monkeypatch.setattr(backup_log, "held_operations", lambda *_: said)
    with pytest.raises(UsageError, match="no backup that operations vouches for"):
        backup_log.ask(HERE, Path("folder"), {"database": "abc"})
    said.append(made({"manifests": {"database": "abc"}}))
    backup_log.ask(HERE, Path("folder"), {"database": "abc"})


def made(detail: dict[str, Any]) -> Operation:
    """Return the event of a backup that was made."""
    return Operation(
        backup_log.BACKUP_MADE, None, datetime(2026, 11, 23, tzinfo=UTC), "operator-zhang@desk", "", detail
    )
