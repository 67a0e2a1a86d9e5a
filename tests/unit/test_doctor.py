"""What `xinliu doctor --security` sees without servers, and that what it cannot look at is no health."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from deploy import doctor
from deploy.doctor import drifts, in_files, in_versions
from schemas.catalogue import load
from schemas.errors import Retryable
from schemas.servers.connection import Connection
from schemas.servers.kafka import Cluster

CHECKED = date(2026, 11, 30)


def test_files_that_others_may_write_or_whose_secrets_they_may_read_are_named(tmp_path: Path) -> None:
    modes = {
        "stacks/a/stack.json": 0o644, "stacks/a/connection.json": 0o644, "stacks/a/principals/view.properties": 0o640,
        "stacks/a/logs/view.log": 0o646, "stacks/a/tls/ca.pem": 0o644, "stacks/a/tls/kafka-key.pem": 0o600, "stacks/a/kafka/data.log": 0o666,
    }  # fmt: skip
    for name, mode in modes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
    (tmp_path / "stacks/a/open").mkdir()
    (tmp_path / "stacks/a/open").chmod(0o777)
    (tmp_path / "stacks/a/link").symlink_to("stack.json")
    found = [line.removeprefix(f"{tmp_path}/stacks/a/").split(" ", 1) for line in in_files(tmp_path)]
    assert {name: "holds a secret" in why for name, why in found} == {
        "stack.json": True, "principals/view.properties": True, "logs/view.log": False, "open": False,
    }  # fmt: skip


def test_a_version_behind_its_patch_is_named_and_knowledge_that_is_old_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = {"Kafka": "4.3.1", "PostgreSQL": "18.6", "Apicurio Registry": "3.3.3", "Java": "25.0.2"}
    monkeypatch.setattr(doctor, "_used", lambda artifact: newest[artifact])
    assert [line.split(" is ")[0] for line in in_versions(CHECKED)] == ["Java 25.0.2"], "patched each quarter"
    assert len(list(in_versions(CHECKED + timedelta(days=101)))) == 5
    monkeypatch.setattr(doctor, "_used", lambda artifact: {**newest, "PostgreSQL": "18.4"}[artifact])
    assert "PostgreSQL is 18.4, the newest patch 18.6" in "\n".join(in_versions(CHECKED))


def test_the_versions_are_those_of_the_lock() -> None:
    for name in ("Kafka", "PostgreSQL", "Apicurio Registry", "Java"):
        assert doctor._used(name).replace(".", "").isdigit()


def test_what_cannot_be_looked_at_has_drifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Connection(
        province="beijing", kafka=Cluster.of("127.0.0.1:1"), registry="http://127.0.0.1:1",
        database="postgresql://xinliu@127.0.0.1:1/xinliu?connect_timeout=1",
    )  # fmt: skip

    def silent(*_: object) -> None:
        raise Retryable("Kafka does not answer")

    monkeypatch.setattr(doctor.topics, "plan", silent)
    found = drifts(away, load(), (), tmp_path, CHECKED)
    areas = {one.area: one.what for one in found}
    assert "asks nobody" in areas["kafka rights"]
    assert areas["database grants"].startswith("not looked at")
    assert areas["topics"].startswith("not looked at")
    assert "files" not in areas
