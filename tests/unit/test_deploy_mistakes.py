"""Each foreseeable mistake with the local servers ends in one clear line that says what to do."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import artifacts
from deploy.local.artifacts import Artifact, fetch
from deploy.local.layout import StackLayout
from deploy.local.postgres import Postgres
from deploy.local.processes import Process
from deploy.settings import Settings, connection, settings
from schemas.errors import UsageError

CONTENT = b"not really a jar, but with a hash of its own\n" * 100


def test_a_cluster_id_never_looks_like_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(["-" + "x" * 21, "x" * 22, *("y" * 24 for _ in range(9))])
    monkeypatch.setattr("secrets.token_urlsafe", lambda _: next(made))
    layout = StackLayout("hyphen", tmp_path)
    layout.prepare()
    assert layout.cluster_id == "x" * 22


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """One small artifact in place of the real ones."""
    artifact = Artifact("org/example/1/example-1.jar", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(artifacts, "locked", lambda _: (artifact,))
    return artifact


@pytest.fixture
def repository() -> Iterator[dict[str, Any]]:
    """A Maven repository on loopback; what it answers can be changed."""
    said: dict[str, Any] = {"content": CONTENT, "asked": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said["asked"] += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(said["content"])))
            self.end_headers()
            self.wfile.write(said["content"])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    said["url"] = f"http://127.0.0.1:{server.server_port}"
    yield said
    server.shutdown()
    thread.join()
    server.server_close()


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    """Return the message, which must be one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


def test_what_was_fetched_once_is_not_fetched_again(
    tmp_path: Path, pinned: Artifact, repository: dict[str, Any]
) -> None:
    (path,) = fetch("kafka", tmp_path, repository["url"])
    assert path.read_bytes() == CONTENT
    fetch("kafka", tmp_path, "http://127.0.0.1:9/nowhere")
    assert repository["asked"] == 1


def test_no_network_with_an_empty_cache(tmp_path: Path, pinned: Artifact) -> None:
    with pytest.raises(UsageError, match="the first start needs the network") as caught:
        fetch("kafka", tmp_path, "http://127.0.0.1:9")
    one_line(caught)


def test_a_file_that_is_not_the_pinned_one_is_not_kept(
    tmp_path: Path, pinned: Artifact, repository: dict[str, Any]
) -> None:
    repository["content"] = CONTENT[:-1] + b"!"
    with pytest.raises(UsageError, match="is not the pinned file") as caught:
        fetch("kafka", tmp_path, repository["url"])
    one_line(caught)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_room_on_the_disk(
    tmp_path: Path, pinned: Artifact, repository: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match="MiB are needed: make room") as caught:
        fetch("kafka", tmp_path, repository["url"])
    one_line(caught)
    assert repository["asked"] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_cache_of_another_user(tmp_path: Path, pinned: Artifact, repository: dict[str, Any]) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write") as caught:
        fetch("kafka", tmp_path / "cache", repository["url"])
    one_line(caught)


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.layout.PORT_WAIT", 0.2, raising=False)
    layout = StackLayout("test-port", tmp_path / "stack")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"port {port}, which Kafka of the stack 'test-port' needs, is taken"
        ) as caught:
            layout.check_port(port, "Kafka")
    assert "--base-port" in one_line(caught)
    assert f"pid {os.getpid()}" in one_line(caught)


def test_data_of_another_version(tmp_path: Path) -> None:
    layout = StackLayout("old", tmp_path / "old")
    layout.prepare()
    file = layout.folder / "stack.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "version": "0: kafka 3.9"}))
    with pytest.raises(UsageError, match="holds data of another version") as caught:
        StackLayout("old", tmp_path / "old").prepare()
    assert "reset" in one_line(caught)


def test_a_plain_stack_stays_plain(tmp_path: Path) -> None:
    StackLayout("plain", tmp_path / "plain").prepare()
    with pytest.raises(UsageError, match="was made without security") as caught:
        StackLayout("plain", tmp_path / "plain").prepare(secure=True)
    assert "reset" in one_line(caught)
    StackLayout("safe", tmp_path / "safe").prepare(secure=True)
    again = StackLayout("safe", tmp_path / "safe")
    again.prepare()
    assert again.secure
    assert again.password("admin") != again.password("broker")


def test_data_of_another_postgresql(tmp_path: Path) -> None:
    layout = StackLayout("pg", tmp_path / "pg")
    layout.prepare()
    server = Postgres(layout, tmp_path / "none.jar")
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(UsageError, match="holds data of PostgreSQL 16, this is 18") as caught:
        server._check_version()
    one_line(caught)


def test_a_stale_pid_file_is_nobodys(tmp_path: Path) -> None:
    process = Process("kafka", tmp_path)
    (tmp_path / "kafka.pid").write_text(json.dumps({"pid": os.getpid(), "started": 1}))
    assert process.pid is None, "another process bears that pid now"
    process.stop()  # must not end us
    (tmp_path / "kafka.pid").write_text("half a fi")
    assert process.pid is None


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    process = Process("kafka", tmp_path)
    process.start(["/bin/sh", "-c", "echo starting; echo 'ERROR the quorum is lost' >&2; exit 1"])
    with pytest.raises(UsageError, match="Kafka ended: ERROR the quorum is lost") as caught:
        process.ensure(lambda: False, seconds=10, what="Kafka")
    one_line(caught)


def test_a_process_is_ended_by_its_pid_alone(tmp_path: Path) -> None:
    process = Process("sleeper", tmp_path)
    process.start(["/bin/sleep", "600"])
    bystander = subprocess.Popen(["/bin/sleep", "600"])
    try:
        assert process.pid is not None
        process.stop()
        assert process.pid is None
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("name", ["UPPER", "a b", "../x", "", "x" * 41])
def test_a_stack_needs_a_proper_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a stack"):
        StackLayout(name, tmp_path)


def test_ports_follow_from_the_name_and_stay(tmp_path: Path) -> None:
    first, second = StackLayout("alpha", tmp_path / "a"), StackLayout("beta", tmp_path / "b")
    first.prepare()
    second.prepare()
    assert first.ports.base != second.ports.base
    assert 20_000 <= first.ports.base < 30_000
    first.prepare(base_port=25_990)
    assert StackLayout("alpha", tmp_path / "a").ports.kafka == 25_991


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Settings that are read anew, with an empty home."""
    for name in [name for name in os.environ if name.startswith("XINLIU_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XINLIU_HOME", str(tmp_path))
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


def test_no_stack_says_how_to_start_one(fresh_settings: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no local stack 'default': start one with `xinliu up`"):
        connection()


def test_half_a_connection_names_what_is_missing(fresh_settings: pytest.MonkeyPatch) -> None:
    fresh_settings.setenv("XINLIU_KAFKA", "127.0.0.1:9092")
    with pytest.raises(UsageError, match="set XINLIU_PROVINCE, XINLIU_REGISTRY too"):
        connection()


def test_secrets_are_never_shown(fresh_settings: pytest.MonkeyPatch) -> None:
    from deploy.settings import redacted

    values = {
        "XINLIU_PROVINCE": "beijing",
        "XINLIU_KAFKA": "127.0.0.1:9092",
        "XINLIU_REGISTRY": "http://127.0.0.1:8081",
        "XINLIU_DATABASE": "host=127.0.0.1 user=xinliu password=s3cret dbname=xinliu",
    }
    for name, value in values.items():
        fresh_settings.setenv(name, value)
    known = connection()
    assert "s3cret" not in str(redacted(known))
    assert "s3cret" not in repr(known)
    assert "s3cret" not in repr(Settings())
