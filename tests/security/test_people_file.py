"""People's principals: a file names them, and a shell that names nobody takes nobody's away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.cluster import acls
from deploy.people import declared, people
from deploy.settings import Settings
from schemas.errors import UsageError
from tests.secure import Secure, installation, xinliu

_USERS = ("admin", "operator", "operator-li", "operator-zhang", "department-tax")


@pytest.mark.parametrize(
    ("file", "environment", "wanted"),
    [
        (None, "", ("li", "zhang")),
        (None, "wang", ("li", "wang", "zhang")),
        ("zhang\n", "", ("zhang",)),
        ("zhang\n", "wang", ("wang", "zhang")),
        ("# nobody now\n\n", "", ()),
        ("  wang  # since May\nli\r\n", "", ("li", "wang")),
    ],
)
def test_who_has_a_principal(tmp_path: Path, file: str | None, environment: str, wanted: tuple[str, ...]) -> None:
    place = tmp_path / "operators"
    if file is not None:
        place.write_text(file)
    assert people(Settings(operators=environment), place, _USERS) == wanted


def _shared(place: Path) -> None:
    place.write_text("zhang\n")
    place.chmod(0o666)


_WRONG: tuple[Callable[[Path], object], ...] = (
    lambda place: place.write_text("operator-zhang\n"),
    lambda place: place.write_text("zhang, li\n"),
    lambda place: place.write_text("张\n"),
    lambda place: place.write_bytes(b"\xff\n"),
    lambda place: place.mkdir(),
    _shared,
)


@pytest.mark.parametrize("write", _WRONG)
def test_a_file_that_is_none_takes_nothing_away(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "operators")
    with pytest.raises(UsageError):
        declared(tmp_path / "operators")


def test_a_shell_that_names_nobody_takes_nobodys_away(secure: Secure, tmp_path: Path) -> None:
    admin = secure.principals["admin"].kafka
    owner = installation(secure, "admin", tmp_path)
    file = secure.stack.layout.folder / "operators"

    def kept() -> tuple[bool, int]:
        rights = {principal for principal, *_ in acls.rights_on_cluster(admin)}
        return "operator-mei" in acls.credentials(admin), sum(p == "User:operator-mei" for p in rights)

    issued = tmp_path / "mei.properties"
    before = set(secure.principals)
    try:
        assert xinliu(secure, "access", "apply", **owner, XINLIU_OPERATORS="mei").returncode == 0
        done = xinliu(secure, "access", "issue", "operator-mei", str(issued), **owner, XINLIU_OPERATORS="mei")
        assert done.returncode == 0, done.stderr
        for words in (("access", "plan"), ("access", "apply")):
            done = xinliu(secure, *words)
            assert (done.returncode, done.stdout) == (0, "nothing to do\n"), done.stderr
            assert xinliu(secure, *words, **owner).stdout == "nothing to do\n"
        secure.stack.up(secure=True)
        assert kept() == (True, 1)
        assert set(secure.principals) == before
        file.write_text("# mei has left\n")
        planned = xinliu(secure, "access", "plan")
        assert planned.returncode == 1
        assert "operator-mei" in planned.stdout
    finally:
        file.write_text("")
        xinliu(secure, "access", "apply")
        file.unlink()
    assert kept() == (False, 0)
