"""Backups: closed, and put back only where the log vouches for what lies there."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.backup.backup import manifest_of
from deploy.deadline import wait_until
from schemas.contracts.registry import Registry
from schemas.operations.log import OperationsReader
from tests.secure import Secure, xinliu


@pytest.fixture(scope="module")
def saved(secure: Secure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup, made under a umask that closes nothing."""
    folder = tmp_path_factory.mktemp("backups") / "monday"
    before = os.umask(0)
    try:
        done = xinliu(secure, "backup", str(folder))
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    return folder


def test_nobody_else_reads_it(saved: Path) -> None:
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in (saved, *saved.rglob("*"))}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}
    assert len(found) > 20


def test_the_log_keeps_its_digest_and_where_the_database_stood(secure: Secure, saved: Path) -> None:
    with Registry(secure.connection.registry) as registry:
        reader = OperationsReader(secure.connection.kafka, registry, principal="operator")
        (made,) = [event for event in reader.held() if event.detail.get("folder") == str(saved)]
        reader.close()
    _, manifest = manifest_of(saved / "database", "beijing")
    assert made.kind == "BACKUP_MADE"
    assert made.detail["manifests"] == {
        part: hashlib.sha256((saved / part / "manifest.json").read_bytes()).hexdigest()
        for part in ("database", "registry")
    }
    assert made.detail["positions"] == manifest["positions"]
    assert {place.partition("/")[0] for place in manifest["positions"]} == {"accepted", "quarantine"}

    def audited() -> bool:
        return made.id in xinliu(secure, "audit", "list", "--kind", "BACKUP_MADE", "--json").stdout

    assert wait_until(audited, seconds=30, every=0.5), "and it stands in the audit"


def rewritten(folder: Path, part: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest."""
    file = folder / part / "manifest.json"
    known = json.loads(file.read_text())
    change(known)
    file.write_text(json.dumps(known, indent=1))


def table_and_manifest(folder: Path) -> None:
    """Take the rows out of a table, and make its manifest fit: what passed before."""
    file = folder / "database" / "g1.record_history.copy.gz"
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content[:19] + b"\xff\xff"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def fit(known: dict[str, Any]) -> None:
        (table,) = [one for one in known["tables"] if one["file"] == file.name]
        table.update(sha256=digest, rows=0)

    rewritten(folder, "database", fit)


def blank_at_the_end(folder: Path) -> None:
    manifest = folder / "database" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a table with its manifest": table_and_manifest,
    "positions": lambda folder: rewritten(folder, "database", lambda known: known["positions"].clear()),
    "a table left out": lambda folder: rewritten(folder, "database", lambda known: known["tables"].pop()),
    "a blank": blank_at_the_end,
    "a file elsewhere": lambda folder: rewritten(
        folder, "database", lambda known: known["tables"][0].update(file="../../etc/x")
    ),
    "the registry's": lambda folder: rewritten(folder, "registry", lambda known: known["sequences"].clear()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_not_put_back(
    secure: Secure, saved: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = tmp_path / "monday"
    for file in saved.rglob("*.*"):
        (folder / file.relative_to(saved)).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.relative_to(saved)).write_bytes(file.read_bytes())
    change(folder)
    running = [server.pid for server in secure.stack.status()]
    refused = xinliu(secure, "restore", str(folder), "--reason", "试")
    assert refused.returncode == 2, refused.stdout
    assert "operations vouches for" in refused.stderr
    assert [server.pid for server in secure.stack.status()] == running, "nothing was stopped for it"


def test_what_nothing_vouches_for_takes_a_reason(secure: Secure, saved: Path) -> None:
    refused = xinliu(secure, "restore", str(saved), "--unvouched", "--reason", "  ")
    assert (refused.returncode, "takes a --reason" in refused.stderr) == (2, True)


@pytest.mark.parametrize("bits", [0o777, 0o1777])
def test_none_is_made_where_others_write(secure: Secure, tmp_path: Path, bits: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(bits)
    refused = xinliu(secure, "backup", str(shared))
    assert (refused.returncode, bits == 0o1777 or "can be written by others" in refused.stderr) == (
        0 if bits == 0o1777 else 2, True,
    )  # fmt: skip
