"""Signatures of provinces: keys with names, algorithms that can be exchanged, a keyring that can grow without a stop.

A key is a JSON file. A private one holds the province, the key's id, the algorithm and the key; the keyring is a folder with
one public file a key, `<province>.<key id>.json`, with the time until which it is believed. Ed25519 is the default; an
installation that must use SM2 with SM3 adds an `Algorithm` of that name to ALGORITHMS.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.codec import encode_own, varint
from schemas.errors import Rejected, UsageError

__all__ = ["ALGORITHMS", "Algorithm", "Keyring", "NotBelieved", "Signer", "make_key"]


class NotBelieved(Rejected):
    """A signature that does not hold: of a key that nobody knows, that is not believed any more, or over something else."""


class Algorithm(Protocol):
    """How one algorithm signs. Keys are bytes in whatever form is the algorithm's own."""

    def generate(self) -> tuple[bytes, bytes]:
        """Return a new private key and its public key."""

    def sign(self, private: bytes, data: bytes) -> bytes:
        """Return the signature of data."""

    def holds(self, public: bytes, signature: bytes, data: bytes) -> bool:
        """Tell whether the signature is that of data."""


class _Ed25519:
    def generate(self) -> tuple[bytes, bytes]:
        key = Ed25519PrivateKey.generate()
        return key.private_bytes_raw(), key.public_key().public_bytes_raw()

    def sign(self, private: bytes, data: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(private).sign(data)

    def holds(self, public: bytes, signature: bytes, data: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
        except InvalidSignature:
            return False
        return True


ALGORITHMS: dict[str, Algorithm] = {"ed25519": _Ed25519()}
"""By the name that signatures bear."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A province's private key. `record` signs a record of our contracts that has the fields key_id, algorithm, signature."""

    province: str
    key_id: str
    algorithm: str
    private: bytes

    @classmethod
    def from_file(cls, file: Path) -> Signer:
        """Read a private key. Raises UsageError where the file is none; nothing of the key is in the message."""
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            key = cls(known["province"], known["key_id"], known["algorithm"], base64.b64decode(known["private"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{file} is no signing key ({type(error).__name__})") from None
        if key.algorithm not in ALGORITHMS:
            raise UsageError(f"{file} is of the algorithm {key.algorithm!r}: known are {', '.join(sorted(ALGORITHMS))}")
        return key

    def record(self, name: str, value: Mapping[str, Any]) -> bytes:
        """Return the Avro body of this record, signed."""
        told = {**value, "key_id": self.key_id, "algorithm": self.algorithm, "signature": b""}
        signature = ALGORITHMS[self.algorithm].sign(self.private, _signed(name, encode_own(name, told)))
        return encode_own(name, {**told, "signature": signature})


@dataclass(frozen=True, slots=True)
class _Public:
    algorithm: str
    public: bytes
    believed_until: datetime | None


class Keyring:
    """The public keys of all provinces, from a folder; a key that is not known is looked for there once more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], _Public] = {}

    def verify(self, name: str, body: bytes, value: Mapping[str, Any]) -> None:
        """Make sure that `value`, as it was read from the Avro body, is the word of the province that it names.

        The signature must be the record's last field, whatever version of the contract wrote it. Raises NotBelieved.
        """
        province, key_id, algorithm = value["province"], value["key_id"], value["algorithm"]
        key = self._key(province, key_id)
        if key is None or key.algorithm != algorithm or algorithm not in ALGORITHMS:
            raise NotBelieved(f"nobody knows a key {key_id!r} ({algorithm}) of {province}")
        if key.believed_until is not None and value["made_at"] > key.believed_until:
            raise NotBelieved(f"the key {key_id!r} of {province} is believed until {key.believed_until} only")
        unsigned = _unsigned(body, value["signature"])
        if not ALGORITHMS[algorithm].holds(key.public, value["signature"], _signed(name, unsigned)):
            raise NotBelieved(f"the signature of {province} does not hold")

    def _key(self, province: str, key_id: str) -> _Public | None:
        if (province, key_id) not in self._known:
            self._read()
        return self._known.get((province, key_id))

    def _read(self) -> None:
        for file in sorted(self._folder.glob("*.json")):
            try:
                known = json.loads(file.read_text(encoding="utf-8"))
                until = known.get("believed_until")
                self._known[known["province"], known["key_id"]] = _Public(
                    known["algorithm"],
                    base64.b64decode(known["public"]),
                    datetime.fromisoformat(until) if until else None,
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{file} is no public key ({type(error).__name__})") from None


def make_key(province: str, folder: Path, keyring: Path, *, algorithm: str = "ed25519") -> Path:
    """Make a key of a province: the private file in `folder`, for its owner's eyes only, the public one in `keyring`.

    Returns the private file.
    """
    key_id = secrets.token_hex(4)
    private, public = ALGORITHMS[algorithm].generate()
    told = {"province": province, "key_id": key_id, "algorithm": algorithm}
    keyring.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    # The public one first: nothing may ever be signed by a key that nobody knows.
    _write(keyring / f"{province}.{key_id}.json", {**told, "public": _text(public), "believed_until": None}, 0o644)
    file = folder / f"{province}.{key_id}.key.json"
    _write(file, {**told, "private": _text(private)}, 0o600)
    return file


def _write(file: Path, content: Mapping[str, Any], mode: int) -> None:
    part = file.with_suffix(".part")
    part.touch(mode=mode)
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(file)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _signed(name: str, unsigned: bytes) -> bytes:
    # The record's name is signed too: a status must never pass for a checkpoint.
    return name.encode() + b"\0" + unsigned


def _unsigned(body: bytes, signature: bytes) -> bytes:
    """Return the body as it was signed: with an empty signature, which is the last field of its record."""
    tail = varint(len(signature)) + signature
    if not body.endswith(tail):
        raise NotBelieved("the signature is not the record's last field")
    return body[: -len(tail)] + varint(0)
