"""Address of the schema registry, and this process's credentials for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from schemas.errors import UsageError

__all__ = ["RegistryAddress"]

_USER, _CA = "basic.auth.user.info", "ssl.ca.location"
"""Names of a properties file, as Confluent's clients use them; the first is name:password."""


class RegistryAddress(BaseModel):
    """The Confluent-compatible API of a registry. Without authentication a text alone is enough.

    >>> RegistryAddress.of("http://127.0.0.1:8081/apis/ccompat/v7").user is None
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Base address, without name and password."""
    user: str | None = None
    password: SecretStr | None = None
    ca: Path | None = None
    """PEM file of the authority that signed its certificate; the machine's authorities if there is none."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> RegistryAddress:
        parts = urlsplit(self.url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("name and password of the schema registry belong into the file XINLIU_REGISTRY_SECURITY")
        if (self.user is None) != (self.password is None):
            raise ValueError("the schema registry takes a name with a password, or neither")
        return self

    @classmethod
    def of(cls, address: RegistryAddress | str) -> RegistryAddress:
        """Return the address; a URL alone gives one without authentication."""
        return address if isinstance(address, cls) else cls.model_validate(address)

    @classmethod
    def from_file(cls, url: str, file: Path) -> RegistryAddress:
        """Return the address with the credentials of a properties file: lines of name=value.

        Raises UsageError if the file cannot be read or contains something else; the message never contains values.
        """
        found: dict[str, str] = {}
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the registry's security settings {file}: {type(error).__name__}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, separator, value = line.partition("=")
            if not separator or name.strip() not in (_USER, _CA):
                raise UsageError(f"{file} line {number} is neither {_USER}=name:password nor {_CA}=file")
            found[name.strip()] = value.strip()
        user, separator, password = found.get(_USER, "").partition(":")
        if _USER in found and not (user and separator and password):
            raise UsageError(f"{file}: {_USER} is no name:password")
        try:
            return cls(
                url=url,
                user=user or None,
                password=SecretStr(password) if password else None,
                ca=Path(found[_CA]) if _CA in found else None,
            )
        except ValueError as error:
            raise UsageError(f"{file}: {str(error).splitlines()[2].strip()}") from None

    def properties(self) -> str:
        """Return the text of the file that `from_file` reads."""
        lines = [] if self.password is None else [f"{_USER}={self.user}:{self.password.get_secret_value()}"]
        return "".join(f"{line}\n" for line in [*lines, *([f"{_CA}={self.ca}"] if self.ca is not None else [])])

    def plain(self) -> str | dict[str, str]:
        """Return it as JSON, with its secret: the URL alone if it has no credentials."""
        if self.user is None and self.ca is None:
            return self.url
        known = {"url": self.url, "user": self.user, "ca": None if self.ca is None else str(self.ca)}
        secret = None if self.password is None else self.password.get_secret_value()
        return {name: value for name, value in {**known, "password": secret}.items() if value is not None}

    def client(self) -> dict[str, Any]:
        """Return the configuration of Confluent's client. Raises UsageError if the authority's file is missing."""
        if self.ca is not None and not self.ca.exists():
            raise UsageError(f"{self.ca}, which {_CA} of the registry's security settings names, is not there")
        settings: dict[str, Any] = {"url": self.url}
        if self.url.startswith("http://"):
            # Without encryption no certificate is checked, and loading the trusted ones takes longer than an answer.
            settings[_CA] = False
        elif self.ca is not None:
            settings[_CA] = str(self.ca)
        if self.password is not None:
            settings[_USER] = f"{self.user}:{self.password.get_secret_value()}"
        return settings

    def __str__(self) -> str:
        """Return the address, never the credentials."""
        return self.url
