"""Several provinces on one machine: names, ports, keys, and every foreseeable mistake in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from deploy.local.credentials import known_to, write_connection
from deploy.local.layout import ANY_PORTS, WORKERS, StackLayout
from deploy.local.provinces import Provinces, read_names
from deploy.settings import Settings
from schemas.errors import UsageError
from schemas.exchange.keys import Signer, make_key
from schemas.servers.connection import Connection, Exchange, Peer
from schemas.servers.kafka import Cluster
from tests.commands import Ran, run

FOUR = ("beijing", "tianjin", "hebei", "shanxi")


def several(home: Path, *names: str, prefix: str = "") -> Provinces:
    """Return provinces in a home of their own."""
    return Provinces(names or FOUR, prefix, Settings(home=home))


def test_the_list_of_provinces_is_read_as_typed() -> None:
    assert read_names("beijing,tianjin, hebei ,shanxi,") == FOUR


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("beijing,tianjn", "there is no province 'tianjn': choose one of beijing, hebei, shanxi, tianjin"),
        ("beijing,tianjin,beijing", "names beijing twice"),
        (" , ", "names no province"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        read_names(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("up", "--provinces", "beijing,peking"), "there is no province 'peking'"),
        (("up", "--provinces", "beijing,beijing"), "names beijing twice"),
        (
            ("up", "--provinces", "beijing,tianjin", "--province", "hebei"),
            "goes with neither --province nor --base-port",
        ),
        (("up", "--provinces", "beijing,tianjin", "--base-port", "25000"), "goes with neither"),
        (("status", "--provinces", "beijing,tianjin"), "there is no local stack 'beijing': start it with"),
        (("reset", "--provinces", "beijing,tianjin", "--yes"), "there is no local stack of beijing,tianjin"),
        (("down", "--provinces", "beijing,tianjin"), "there is no local stack 'beijing': start it with"),
    ],
)
def test_the_command_says_so_in_one_line_and_starts_nothing(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = run(*words, env={"XINLIU_HOME": str(tmp_path)})
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "stacks").exists()


def test_the_process_ends_as_the_command_does(tmp_path: Path) -> None:
    words, env = ("up", "--provinces", "beijing,peking"), {"XINLIU_HOME": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XINLIU_")}
    process = [sys.executable, "-m", "xinliu", *words]
    done = subprocess.run(process, env=kept | env, capture_output=True, text=True, check=False, timeout=60)
    assert Ran(done.returncode, done.stdout, done.stderr) == run(*words, env=env)


def test_stacks_are_named_by_their_province_and_behind_a_prefix(tmp_path: Path) -> None:
    assert [stack.name for stack in several(tmp_path).stacks.values()] == list(FOUR)
    assert several(tmp_path, prefix="try").stacks["hebei"].name == "try-hebei"
    assert several(tmp_path).keyring != several(tmp_path, prefix="try").keyring


def test_no_two_stacks_of_a_home_choose_one_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackLayout, "usual_base", 25_000)
    monkeypatch.setattr("deploy.local.layout._free", lambda _: True)  # whatever else this machine runs there
    stacks = several(tmp_path).stacks
    stacks["tianjin"].layout.prepare(25_015)
    with ThreadPoolExecutor(len(FOUR)) as threads:
        list(threads.map(lambda name: stacks[name].layout.prepare(ANY_PORTS), FOUR))
    bases = {name: stacks[name].layout.ports.base for name in FOUR}
    assert bases.pop("tianjin") == 25_015, "what has its ports keeps them"
    assert sorted(bases.values()) == [25_000, 25_030, 25_040]


def test_a_stack_takes_no_ports_on_which_somebody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(StackLayout, "usual_base", taken.getsockname()[1] - 3)
        layout = StackLayout("one", tmp_path / "one")
        layout.prepare(ANY_PORTS)
    assert layout.ports.base > layout.usual_base


def test_one_that_runs_alone_already_is_left_alone(tmp_path: Path) -> None:
    together = several(tmp_path, "beijing", "tianjin")
    alone = together.stacks["beijing"]
    alone.layout.prepare()
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    (alone.layout.folder / "kafka.pid").write_text(json.dumps({"pid": os.getpid(), "started": started}))
    with pytest.raises(
        UsageError, match="the stack 'beijing' runs alone already: `xinliu --stack beijing down`"
    ) as caught:
        together.up()
    assert "\n" not in str(caught.value)
    assert not together.stacks["tianjin"].layout.exists
    assert psutil.pid_exists(os.getpid())


def test_a_stack_that_shares_the_machine_stays_so_and_has_one_worker(tmp_path: Path) -> None:
    StackLayout("one", tmp_path / "one").prepare()
    assert StackLayout("one", tmp_path / "one").workers == WORKERS
    StackLayout("one", tmp_path / "one").prepare(shared=True)
    again = StackLayout("one", tmp_path / "one")
    again.prepare()
    assert again.workers == ("province",)
    ports = again.ports
    assert len({ports.metrics(worker) for worker in (*WORKERS, "province", "link")}) == 4
    assert ports.metrics("link") < ports.base + 10


def exchange(folder: Path) -> Exchange:
    """Return an exchange with a secret of each kind."""
    security = {"security.protocol": SecretStr("SASL_SSL"), "sasl.password": SecretStr("s3cret")}
    peer = Peer(kafka=Cluster(servers="127.0.0.1:9", security=security), registry="http://127.0.0.1:8")
    key = make_key("beijing", folder / "keys", folder / "keyring")
    return Exchange(signing_key=key, keyring=folder / "keyring", peers={"tianjin": peer})


def test_a_principal_is_told_of_the_exchange_what_it_needs(tmp_path: Path) -> None:
    whole = exchange(tmp_path)
    told = {
        who: known_to(who, whole) for who in ("view", "link", "intake", "operator", "report", "department-tax", "admin")
    }
    assert {who for who, part in told.items() if part is not None} == {"view", "link", "intake", "operator"}
    assert {who for who, part in told.items() if part and part.peers} == {"link"}
    assert {who for who, part in told.items() if part and part.signing_key} == {"view"}
    assert known_to("view", None) is None


def test_a_connection_with_an_exchange_is_written_and_read_back_with_its_secrets(tmp_path: Path) -> None:
    known = Connection(
        province="beijing", kafka=Cluster.of("127.0.0.1:1"), registry="http://127.0.0.1:2", exchange=exchange(tmp_path)
    )
    write_connection(tmp_path / "connection.json", known)
    assert (tmp_path / "connection.json").stat().st_mode & 0o077 == 0
    assert Connection.model_validate_json((tmp_path / "connection.json").read_bytes()) == known
    assert "s3cret" not in repr(known)


def test_a_key_is_made_once_and_again_only_where_nobody_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = several(tmp_path, "beijing", "tianjin")
    monkeypatch.setattr("deploy.local.stack.Stack.peer", lambda *_: Peer(kafka=Cluster.of("127.0.0.1:1"), registry="r"))
    first = together._exchange("beijing")
    assert set(first.peers) == {"tianjin"}
    key = first.signing_key
    assert key is not None
    signs = Signer.from_file(key).key_id
    make_key("beijing", key.parent, together.keyring)  # one that waits until somebody says it is to sign
    assert together._exchange("beijing") == first
    assert Signer.from_file(key).key_id == signs
    for file in together.keyring.iterdir():
        file.unlink()
    assert together._exchange("beijing") == first
    assert Signer.from_file(key).key_id != signs
    assert [file.name.split(".")[0] for file in together.keyring.iterdir()] == ["beijing"]
