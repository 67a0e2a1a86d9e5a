"""Where the registry is and as whom: what is shown of it, what a file may say, and who writes there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryError

from deploy import settings
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError
from schemas.servers.registry import RegistryAddress

ROOT = Path(__file__).parents[2]
URL = "https://127.0.0.1:1/apis/ccompat/v7"
SECRET = "geheim:mit:Doppelpunkten"


def file(folder: Path, text: str) -> Path:
    path = folder / "registry.properties"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_back_and_no_secret_is_shown(tmp_path: Path) -> None:
    path = file(tmp_path, f"# of the deployment\nbasic.auth.user.info=intake:{SECRET}\nssl.ca.location=/etc/ca.pem\n")
    known = RegistryAddress.from_file(URL, path)
    assert (known.user, known.password and known.password.get_secret_value()) == ("intake", SECRET)
    assert RegistryAddress.from_file(URL, file(tmp_path, known.properties())) == known
    assert RegistryAddress.model_validate(known.plain()) == known
    assert SECRET not in f"{known} {known!r} {known.model_dump_json()}"
    assert RegistryAddress.of(URL).plain() == URL


@pytest.mark.parametrize(
    "text",
    [
        f"basic.auth.user.info={SECRET.replace(':', '')}",
        f"password={SECRET}",
        SECRET,
        f"basic.auth.user.info=:{SECRET}",
    ],
)
def test_a_file_that_says_something_else_is_refused_without_its_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        RegistryAddress.from_file(URL, file(tmp_path, text))
    assert SECRET not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_name_and_password_have_no_place_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="belong into the file"):
        RegistryAddress.of(f"https://intake:{SECRET}@registry.example/apis/ccompat/v7")
    with pytest.raises(ValueError, match="with a password, or neither"):
        RegistryAddress(url=URL, user="intake")


def test_settings_take_the_registrys_credentials_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {"PROVINCE": "beijing", "KAFKA": "127.0.0.1:1", "REGISTRY": URL}
    values["REGISTRY_SECURITY"] = str(file(tmp_path, f"basic.auth.user.info=intake:{SECRET}\n"))
    for name, value in values.items():
        monkeypatch.setenv(f"XINLIU_{name}", value)
    settings.settings.cache_clear()
    try:
        known = settings.connection()
    finally:
        settings.settings.cache_clear()
    assert known.registry.user == "intake"
    assert settings.redacted(known)["registry"] == f"{URL} user=intake"


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, UsageError, "does not let anybody"),
        (403, UsageError, "does not let anybody"),
        (500, Retryable, "not answer"),
    ],
)
def test_no_is_told_apart_from_silence(status: int, kind: type[Exception], said: str) -> None:
    with Registry("http://127.0.0.1:1/apis/ccompat/v7") as registry:
        failure = registry._failure(SchemaRegistryError(status, status, "no"), "")
    assert isinstance(failure, kind)
    assert said in str(failure)


def test_nothing_writes_to_the_registry_but_the_command_and_up() -> None:
    rooms = ("schemas", "producers", "streams", "consumers", "deploy")
    writes = re.compile(
        r"""(registry|contracts|own|peer)\.register\(["A-Zn]|\bregister_schema\(|\bset_compatibility\("""
    )
    found = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if writes.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"schemas/contracts/registry.py", "schemas/commands/schemas.py", "deploy/local/stack.py"}
