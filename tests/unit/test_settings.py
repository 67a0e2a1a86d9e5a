"""Settings reach the connection that every command is given, as whomever it acts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import settings
from schemas.errors import UsageError
from schemas.servers.connection import WorkerTimes

SERVERS = {"PROVINCE": "beijing", "KAFKA": "127.0.0.1:1", "REGISTRY": "http://127.0.0.1:2"}
SHORT = {"WORKER_SESSION": "6", "WORKER_IDLE_IN_TRANSACTION": "2.5", "INTAKE_STOP_CONSECUTIVE": "7"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the settings anew."""
    for name in (*SERVERS, *SHORT, "STACK", "DATABASE"):
        monkeypatch.delenv(f"XINLIU_{name}", raising=False)
    settings.settings.cache_clear()
    yield
    settings.settings.cache_clear()


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Set these."""
    for name, value in values.items():
        monkeypatch.setenv(f"XINLIU_{name}", value)


def test_servers_of_ones_own_are_worked_on_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **SERVERS, **SHORT)
    known = settings.connection()
    assert known.times == WorkerTimes(session=6, idle_in_transaction=2.5)
    assert known.intake_limits.consecutive == 7
    assert settings.redacted(known)["times"] == "session=6.0 idle_in_transaction=2.5"


def test_a_local_stacks_principals_work_with_the_settings_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = {
        "province": "beijing",
        "kafka": {"servers": "127.0.0.1:1", "security": {}},
        "registry": "http://127.0.0.1:2",
    }
    folder = tmp_path / "stacks" / "default"
    (folder / "principals").mkdir(parents=True)
    (folder / "principals" / "view.json").write_text(json.dumps(plain))
    (folder / "connection.json").write_text(json.dumps(plain | {"principals": str(folder / "principals")}))
    given(monkeypatch, HOME=str(tmp_path), **SHORT)
    known = settings.connection().acting("view")
    assert known.times == WorkerTimes(session=6, idle_in_transaction=2.5)
    assert known.intake_limits.consecutive == 7


@pytest.mark.parametrize("wrong", ["5.9", "61", "soon"])
def test_a_session_that_brokers_do_not_take_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    given(monkeypatch, **SERVERS, WORKER_SESSION=wrong)
    with pytest.raises(UsageError, match=f"XINLIU_WORKER_SESSION='{wrong}'"):
        settings.connection()
