"""Files that hold secrets: whatever stands at their place before, they are ours, closed, and written nowhere else."""

from __future__ import annotations

import ast
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import credentials as parts
from deploy.local.certificates import make_certificates
from deploy.local.layout import StackLayout
from deploy.local.processes import Process
from schemas.errors import UsageError
from schemas.exchange.keys import make_key
from schemas.files.private import create, open_private, private_folder, write_private
from schemas.servers.connection import Connection, Exchange
from schemas.servers.kafka import Cluster

ROOT = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody").pw_uid
AS_ROOT = os.geteuid() == 0


def mode(path: Path) -> int:
    """Return who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


def prepared(folder: Path) -> Path:
    """Prepare a stack in it."""
    StackLayout("stack", folder / "stack").prepare()
    return folder / "stack" / "stack.json"


def certified(folder: Path) -> Path:
    """Make certificates in it."""
    make_certificates(folder / "tls")
    return folder / "tls" / "broker.pem"


def connected(folder: Path) -> Path:
    """Write a principal's connection."""
    cluster = Cluster.of("127.0.0.1:1")
    parts.write_connection(folder / "tax.json", Connection(province="beijing", kafka=cluster, registry="http://x"))
    return folder / "tax.json"


def exchanged(folder: Path) -> Path:
    """Write how a province shares."""
    parts.write_exchange(folder / "exchange.json", Exchange(keyring=folder))
    return folder / "exchange.json"


def signed(folder: Path) -> Path:
    """Make a key that signs."""
    return make_key("beijing", folder / "keys", folder / "ring")


def logged(folder: Path) -> Path:
    """Start a process, which writes a log."""
    process = Process("true", folder)
    process.start(["true"])
    return process.log


WRITERS: tuple[Callable[[Path], Path], ...] = (prepared, certified, connected, exchanged, signed, logged)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_every_writer_leaves_files_that_only_their_owner_reads(
    tmp_path: Path, write: Callable[[Path], Path], umask: int
) -> None:
    before = os.umask(umask)
    try:
        file = write(tmp_path)
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    assert mode(file.parent) & 0o022 == 0
    assert [left.name for left in file.parent.iterdir() if "part" in left.name] == []


def _file(place: Path, bait: Path) -> None:
    place.write_text("theirs")
    place.chmod(0o666)
    if AS_ROOT:
        os.chown(place, NOBODY, -1)


def _link(place: Path, bait: Path) -> None:
    place.symlink_to(bait)


def _hard_link(place: Path, bait: Path) -> None:
    place.hardlink_to(bait)


def _dangling(place: Path, bait: Path) -> None:
    place.symlink_to(bait.with_name("made-by-us"))


def _pipe(place: Path, bait: Path) -> None:
    os.mkfifo(place)


PLANTED = (_file, _link, _hard_link, _dangling, _pipe)


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("name", ["x.properties", "x.properties.part", "x.part", ".x.properties.part"])
def test_what_others_put_there_first_is_neither_written_nor_kept(
    tmp_path: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    bait = tmp_path / "bait"
    bait.write_text("untouched")
    plant(tmp_path / name, bait)
    write_private(tmp_path / "x.properties", b"secret")
    written = (tmp_path / "x.properties").lstat()
    assert (tmp_path / "x.properties").read_bytes() == b"secret"
    assert (stat.S_IFMT(written.st_mode), stat.S_IMODE(written.st_mode)) == (stat.S_IFREG, 0o600)
    assert (written.st_uid, written.st_nlink) == (os.geteuid(), 1)
    assert bait.read_text() == "untouched"
    assert not (tmp_path / "made-by-us").exists()


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("append", [False, True])
def test_a_lock_or_a_log_is_no_file_of_others(
    tmp_path: Path, plant: Callable[[Path, Path], None], append: bool
) -> None:
    bait = tmp_path / "bait"
    bait.write_text("untouched")
    plant(tmp_path / "lock", bait)
    if plant is _file and not AS_ROOT:  # of ours, by an earlier version: closed, and gone on with
        with open_private(tmp_path / "lock", append=append):
            assert mode(tmp_path / "lock") == 0o600
        return
    with pytest.raises((UsageError, OSError)):
        open_private(tmp_path / "lock", append=append)
    assert bait.read_text() == "untouched"
    assert not (tmp_path / "made-by-us").exists()


def test_locks_and_logs_of_an_earlier_version_are_closed_and_kept(tmp_path: Path) -> None:
    for name in ("lock", "worker.log"):
        (tmp_path / name).write_text("before ")
        (tmp_path / name).chmod(0o644)
    with open_private(tmp_path / "worker.log", append=True) as log:
        log.write(b"after")
    open_private(tmp_path / "lock").close()
    assert (tmp_path / "worker.log").read_text() == "before after"
    assert mode(tmp_path / "lock") == mode(tmp_path / "worker.log") == 0o600


@pytest.mark.parametrize(
    ("bits", "refused"),
    [(0o700, False), (0o755, False), (0o711, False), (0o777, True), (0o1777, True), (0o772, True), (0o703, True)],
)
def test_a_folder_that_others_write_to_gets_no_secret(tmp_path: Path, bits: int, refused: bool) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(bits)
    if refused:
        with pytest.raises(UsageError, match="can be written by others"):
            write_private(folder / "secret", b"x")
        assert list(folder.iterdir()) == []
    else:
        write_private(folder / "secret", b"x")


def test_a_folder_below_one_that_others_write_to_gets_none_but_below_one_like_tmp(tmp_path: Path) -> None:
    inner = tmp_path / "shared" / "mine"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o1777)
    write_private(inner / "secret", b"x")
    inner.parent.chmod(0o777)
    with pytest.raises(UsageError, match="could exchange it"):
        write_private(inner / "secret", b"y")
    assert (inner / "secret").read_bytes() == b"x"


@pytest.mark.skipif(not AS_ROOT, reason="gives files to another user")
def test_a_folder_or_link_of_another_user_gets_none(tmp_path: Path) -> None:
    theirs, mine, link = tmp_path / "theirs", tmp_path / "mine", tmp_path / "link"
    theirs.mkdir()
    mine.mkdir()
    link.symlink_to(mine)
    os.chown(theirs, NOBODY, -1)
    write_private(link / "secret", b"x")  # a link of ours may be gone through
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    for folder in (theirs, link):
        with pytest.raises(UsageError, match=r"another user's link|written by others"):
            write_private(folder / "secret", b"y")
    with pytest.raises(UsageError, match="belongs to another user"):
        private_folder(theirs)
    write_private(theirs / "secret", b"theirs", owner=NOBODY)  # a server's own, for its user
    assert ((theirs / "secret").stat().st_uid, mode(theirs / "secret")) == (NOBODY, 0o600)


def test_what_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", b"before")

    def cut_off() -> None:
        with create(tmp_path / "secret") as out:
            out.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_off()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("secret", b"before")]


_OPENS = {"write_text", "write_bytes", "touch", "mkdir", "copyfile", "copytree"}
_ELSEWHERE = {
    "schemas/files/private.py": "the helper itself",
    "schemas/files/outputs.py": "a person's own files, in a folder of mode 700 until they are whole",
    "producers/sample/files.py": "made-up data",
    "deploy/commands/demo_four.py": "made-up data",
    "producers/files/rows/repairs.py": "a part of Outputs",
    "producers/commands/output_files.py": "the folder of a person's own outputs",
    "producers/files/rows/rejects.py": "a part of Outputs",
    "consumers/commands/quality.py": "a part of Outputs",
    "deploy/local/artifacts.py": "the lock of versions, for whoever raises one",
}


def test_every_other_file_is_written_by_the_helper() -> None:
    """By the names of what makes files; a new one is written by schemas/files/private.py, or has its reason here."""
    found = set()
    for room in ("deploy", "schemas", "producers", "streams", "consumers"):
        for source in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                words = {str(value.value) for value in ast.walk(node) if isinstance(value, ast.Constant)}
                writes = name == "open" and words & {"w", "wb", "a", "ab", "x", "xb", "r+b", "w+"}
                if name in _OPENS or writes:
                    found.add(source.relative_to(ROOT).as_posix())
    assert found == set(_ELSEWHERE)
