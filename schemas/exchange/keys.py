"""Signatures of provinces: named keys, replaceable algorithms, and a keyring that grows without a restart.

A key is a JSON file. A private file holds the province, the key's id, the algorithm and the key. The keyring is a
folder with one public file per key, `<province>.<key id>.json`, which names the time until which the key is trusted.
Ed25519 is the default; an installation that must use SM2 with SM3 adds an `Algorithm` of that name to ALGORITHMS.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.contracts.codec import encode_own, varint
from schemas.errors import Rejected, UsageError
from schemas.files.private import private_folder, write_private

__all__ = [
    "ALGORITHMS", "Algorithm", "Keyring", "NotBelieved", "PublicKey", "Signer", "make_key", "retire", "switch",
]  # fmt: skip

log = structlog.get_logger()

_PRIVATE = ".key.json"
"""Suffix of a private key file: a keyring ignores such files."""
_LOOK_EVERY = 1.0
"""Seconds between two checks of a keyring for changed files."""


class NotBelieved(Rejected):
    """A signature that fails: its key is unknown or no longer trusted, or it covers other data."""


class Algorithm(Protocol):
    """One signature algorithm. Keys are bytes in the algorithm's own form."""

    def generate(self) -> tuple[bytes, bytes]:
        """Return a new private key and its public key."""

    def sign(self, private: bytes, data: bytes) -> bytes:
        """Return the signature of data."""

    def holds(self, public: bytes, signature: bytes, data: bytes) -> bool:
        """Return whether the signature fits the data."""


class _Ed25519:
    def generate(self) -> tuple[bytes, bytes]:
        key = Ed25519PrivateKey.generate()
        return key.private_bytes_raw(), key.public_key().public_bytes_raw()

    def sign(self, private: bytes, data: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(private).sign(data)

    def holds(self, public: bytes, signature: bytes, data: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


ALGORITHMS: dict[str, Algorithm] = {"ed25519": _Ed25519()}
"""Algorithms by their name in signatures."""


@dataclass(frozen=True, slots=True)
class _Private:
    province: str
    key_id: str
    algorithm: str
    private: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of the keyring.

    A record that our broker received after `believed_until` (UTC), or that states a later time of its own, is not
    trusted; None means that the key is in force. No record signed by a `compromised` key is trusted, whenever it
    arrived.
    """

    province: str
    key_id: str
    algorithm: str
    public: bytes = field(repr=False)
    believed_until: datetime | None
    compromised: bool = False


class Signer:
    """A province's private key. `record` signs a record of our contracts with the fields key_id, algorithm, signature.

    If the key's file is replaced, the new key signs the next record, without a restart of the process.
    """

    def __init__(self, key: _Private, file: Path, seen: _Seen) -> None:
        self._key, self._file, self._seen = key, file, seen

    @classmethod
    def from_file(cls, file: Path) -> Signer:
        """Read a private key. Raises UsageError if the file is none; the message contains nothing of the key."""
        try:
            seen = _look(file)
        except OSError as error:
            raise UsageError(f"{file} is no signing key ({type(error).__name__})") from None
        return cls(_read_private(file), file, seen)

    @property
    def province(self) -> str:
        """Province of the key."""
        return self._key.province

    @property
    def key_id(self) -> str:
        """Id of the key that signs at present."""
        self._renew()
        return self._key.key_id

    def record(self, name: str, value: Mapping[str, Any]) -> bytes:
        """Return the Avro body of this record, signed."""
        self._renew()
        key = self._key
        told = {**value, "key_id": key.key_id, "algorithm": key.algorithm, "signature": b""}
        signature = ALGORITHMS[key.algorithm].sign(key.private, _signed(name, encode_own(name, told)))
        return encode_own(name, {**told, "signature": signature})

    def _renew(self) -> None:
        try:
            seen = _look(self._file)
            if seen == self._seen:
                return
            self._seen = seen  # first: an invalid file is logged once
            key = _read_private(self._file)
            if key.province != self._key.province:
                raise UsageError(f"{self._file} is a key of {key.province}")
        except (OSError, UsageError) as error:
            # The previous key still signs validly; without any key, all publishing would stop.
            log.warning("signing.key_not_exchanged", why=str(error), signs=self._key.key_id)
        else:
            self._key = key
            log.info("signing.key_exchanged", signs=key.key_id)


class Keyring:
    """The public keys of all provinces: a folder with a file for each, read again when a file changes.

    An unknown key is looked up at once; the keyring notices a retired or removed key within a second.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, tuple[_Seen, PublicKey | None]] = {}
        self._known: dict[tuple[str, str], PublicKey] = {}
        self._looked_at = -_LOOK_EVERY

    def verify(self, name: str, body: bytes, value: Mapping[str, Any], *, received_at: datetime | None = None) -> None:
        """Verify that the province named in `value`, decoded from the Avro body, signed it.

        The signature must be the record's last field, whatever version of the contract wrote it. `received_at` is when
        our broker received it, now by default: a retired key is checked against it, because an owner of the key can
        write any date. Raises NotBelieved.
        """
        province, key_id, algorithm = value["province"], value["key_id"], value["algorithm"]
        key = self._key(province, key_id)
        if key is None or key.algorithm != algorithm or algorithm not in ALGORITHMS:
            raise NotBelieved(f"nobody knows a key {key_id[:40]!r} ({algorithm[:40]!r}) of {province[:40]!r}")
        if key.compromised:
            raise NotBelieved(f"the key {key_id!r} of {province} is compromised: nothing that it signed is believed")
        if key.believed_until is not None:
            came = received_at or datetime.now(UTC)
            if max(value["made_at"], came) > key.believed_until:
                raise NotBelieved(
                    f"the key {key_id!r} of {province} is believed until {key.believed_until} only, and this came at {came}"
                )
        unsigned = _unsigned(body, value["signature"])
        if not ALGORITHMS[algorithm].holds(key.public, value["signature"], _signed(name, unsigned)):
            raise NotBelieved(f"the signature of {province} does not hold")

    def compromised(self, province: str, key_id: str) -> bool:
        """Return whether the key is compromised, so that nothing it signed is trusted."""
        key = self._key(province, key_id)
        return key is not None and key.compromised

    def held(self) -> tuple[PublicKey, ...]:
        """Return all present keys, by province. Raises UsageError if a file is no public key."""
        self._look()
        broken = [file.name for file, (_, key) in self._files.items() if key is None]
        if broken:
            raise UsageError(f"{', '.join(broken)} in {self._folder}: no public key of the name that the file has")
        return tuple(key for _, key in sorted(self._known.items()))

    def _key(self, province: str, key_id: str) -> PublicKey | None:
        if (province, key_id) not in self._known or monotonic() - self._looked_at >= _LOOK_EVERY:
            self._look()
        return self._known.get((province, key_id))

    def _look(self) -> None:
        files: dict[Path, tuple[_Seen, PublicKey | None]] = {}
        for file in sorted(self._folder.glob("*.json")):
            if file.name.endswith(_PRIVATE):
                continue
            held = self._files.get(file)
            try:
                seen = _look(file)
                files[file] = held if held is not None and held[0] == seen else (seen, _read_public(file))
            except (OSError, UsageError) as error:
                # The file may be only half copied: its previous key stays valid, and other keys are not affected.
                log.warning("signing.no_public_key", why=str(error))
                files[file] = ((0, 0, 0), held[1] if held is not None else None)
        self._files = files
        self._known = {(key.province, key.key_id): key for _, key in files.values() if key is not None}
        self._looked_at = monotonic()


def make_key(province: str, folder: Path, keyring: Path, *, algorithm: str = "ed25519") -> Path:
    """Make a key of a province: the private file in `folder`, readable by its owner only, the public one in `keyring`.

    Returns the private file. Raises UsageError if the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"nobody knows the algorithm {algorithm!r}: known are {', '.join(sorted(ALGORITHMS))}")
    key_id = secrets.token_hex(4)
    private, public = ALGORITHMS[algorithm].generate()
    told = {"province": province, "key_id": key_id, "algorithm": algorithm}
    private_folder(keyring, mode=0o755)
    private_folder(folder, mode=0o755)
    # The public key first: no key may sign while its public key is unknown.
    _write(keyring / f"{province}.{key_id}.json", {**told, "public": _text(public), "believed_until": None}, 0o644)
    file = folder / f"{province}.{key_id}{_PRIVATE}"
    _write(file, {**told, "private": _text(private)}, 0o600)
    return file


def retire(keyring: Path, province: str, key_id: str, until: datetime, *, compromised: bool = False) -> None:
    """Retire a key: records that arrive, or state a time, after `until` are not trusted.

    Earlier records stay valid. If the key is `compromised`, only records that were applied already stay valid.

    Raises UsageError if the keyring has no such key, or `until` has no time zone.
    """
    if until.tzinfo is None:
        raise UsageError(f"{until} names no time zone")
    file = keyring / f"{province}.{key_id}.json"
    if not file.exists():
        raise UsageError(
            f"there is no key {key_id!r} of {province} in {keyring}: `xinliu exchange keys list` names them"
        )
    _read_public(file)
    known = json.loads(file.read_text(encoding="utf-8"))
    told = {**known, "believed_until": until.astimezone(UTC).isoformat()}
    _write(file, {**told, "compromised": compromised or bool(known.get("compromised"))}, 0o644)


def switch(signing_key: Path, waiting: Path, keyring: Path) -> str:
    """Replace the signing key by a waiting one, which deletes the previous private key. Returns the previous key's id.

    Raises UsageError if it is another province's key, or its public key is not in force in the keyring.
    """
    before, after = _read_private(signing_key), _read_private(waiting)
    if before.province != after.province:
        raise UsageError(f"{waiting} is a key of {after.province}, and {before.province} signs here")
    public = {(key.province, key.key_id): key for key in Keyring(keyring).held()}.get((after.province, after.key_id))
    if public is None or public.believed_until is not None:
        raise UsageError(f"the key {after.key_id!r} is not in force in {keyring}: nobody would believe it")
    owner = signing_key.stat()
    if os.geteuid() == 0:
        os.chown(waiting, owner.st_uid, owner.st_gid)  # the worker that signs may be another user
    waiting.replace(signing_key)
    return before.key_id


_Seen = tuple[int, int, int]


def _look(file: Path) -> _Seen:
    """Return a fingerprint of the file that changes with it."""
    found = file.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read_private(file: Path) -> _Private:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        key = _Private(known["province"], known["key_id"], known["algorithm"], base64.b64decode(known["private"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is no signing key ({type(error).__name__})") from None
    if key.algorithm not in ALGORITHMS:
        raise UsageError(f"{file} is of the algorithm {key.algorithm!r}: known are {', '.join(sorted(ALGORITHMS))}")
    return key


def _read_public(file: Path) -> PublicKey:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        until = datetime.fromisoformat(known["believed_until"]) if known.get("believed_until") else None
        key = PublicKey(
            known["province"], known["key_id"], known["algorithm"], base64.b64decode(known["public"]), until,
            bool(known.get("compromised")),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is no public key ({type(error).__name__})") from None
    if file.name != f"{key.province}.{key.key_id}.json":
        raise UsageError(f"{file} holds the key {key.key_id!r} of {key.province!r}: a file is named as what it holds")
    if until is not None and until.tzinfo is None:
        raise UsageError(f"{file}: believed_until names no time zone")
    return key


def _write(file: Path, content: Mapping[str, Any], mode: int) -> None:
    write_private(file, json.dumps(content, indent=1).encode(), mode=mode)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _signed(name: str, unsigned: bytes) -> bytes:
    # The record's name is signed too: a status must never pass for a checkpoint.
    return name.encode() + b"\0" + unsigned


def _unsigned(body: bytes, signature: bytes) -> bytes:
    """Return the body that was signed: with an empty signature in the last field of the record."""
    tail = varint(len(signature)) + signature
    if not body.endswith(tail):
        raise NotBelieved("the signature is not the record's last field")
    return body[: -len(tail)] + varint(0)
