"""Signatures of provinces: what holds, what does not, and keys that are exchanged while everything runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from schemas.contracts.avro import parsed
from schemas.contracts.codec import NotDecodable, decode
from schemas.errors import UsageError
from schemas.exchange import keys as signing
from schemas.exchange.keys import ALGORITHMS, Keyring, NotBelieved, Signer, make_key, retire, switch

STATUS, CHECKPOINT = "xinliu.ExchangeStatus", "xinliu.Checkpoint"
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


class EcdsaP256:
    """A second algorithm: what an installation with SM2 would add, in the same three methods."""

    def generate(self) -> tuple[bytes, bytes]:
        """Return a new private key and its public key."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), public

    def sign(self, private: bytes, data: bytes) -> bytes:
        """Return the signature of data."""
        key = load_der_private_key(private, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key.sign(data, ec.ECDSA(hashes.SHA256()))

    def holds(self, public: bytes, signature: bytes, data: bytes) -> bool:
        """Tell whether the signature is that of data."""
        key = load_der_public_key(public)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@pytest.fixture(params=["ed25519", "sm2-sm3"])
def algorithm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each algorithm; the second under the name that a plug-in for SM2 would have."""
    monkeypatch.setitem(ALGORITHMS, "sm2-sm3", EcdsaP256())
    return str(request.param)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keyrings look at their folder for every signature."""
    monkeypatch.setattr(signing, "_LOOK_EVERY", 0.0)


def status(province: str = "beijing", made_at: datetime = NOW) -> dict[str, Any]:
    """Return a status."""
    place = {"partition": 1, "sequence": 7, "offset": 70, "made_at": NOW}
    seen = {"province": "tianjin", "topic_id": "t", "applied_at": NOW, "behind": 0, "differs": ["tax"]}
    return {
        "province": province,
        "made_at": made_at,
        "published": [place],
        "applied": [{**place, **seen}],
        "wanted": [],
    }


def checkpoint() -> dict[str, Any]:
    """Return a checkpoint."""
    numbers = dict.fromkeys(("partition", "sequence", "predecessor", "last_offset", "count"), 0)
    texts = {"province": "beijing", "topic_id": "t", "predecessor_hash": "0" * 64, "hash": "1" * 64}
    return {**numbers, **texts, "made_at": NOW, "complete": True, "domains": []}


def read(name: str, body: bytes) -> dict[str, Any]:
    """Return the record of a body."""
    return decode(parsed(name), body)


def verified(keyring: Keyring, name: str, body: bytes, received_at: datetime = NOW) -> None:
    """Make sure that the body is the word of whom it names."""
    keyring.verify(name, body, read(name, body), received_at=received_at)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of private keys, and the keyring."""
    return tmp_path / "private", tmp_path / "keyring"


def test_what_is_signed_holds(places: tuple[Path, Path], algorithm: str) -> None:
    signer = Signer.from_file(make_key("beijing", *places, algorithm=algorithm))
    verified(Keyring(places[1]), STATUS, signer.record(STATUS, status()))
    verified(Keyring(places[1]), CHECKPOINT, signer.record(CHECKPOINT, checkpoint()))


def test_a_change_of_any_bit_is_found(places: tuple[Path, Path], algorithm: str) -> None:
    keyring = Keyring(places[1])
    body = Signer.from_file(make_key("beijing", *places, algorithm=algorithm)).record(STATUS, status())
    verified(keyring, STATUS, body)
    for place in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            with pytest.raises((NotBelieved, NotDecodable)):
                verified(keyring, STATUS, bytes(changed))
    for changed_length in (body[:-1], body + b"\0", body[1:], b"", body + body):
        with pytest.raises((NotBelieved, NotDecodable)):
            verified(keyring, STATUS, changed_length)


def test_a_status_is_no_checkpoint(places: tuple[Path, Path]) -> None:
    """Though its body could be read as one: the name of the record is signed too."""
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    for name, other, value in ((STATUS, CHECKPOINT, status()), (CHECKPOINT, STATUS, checkpoint())):
        body = signer.record(name, value)
        keyring.verify(name, body, read(name, body))
        with pytest.raises(NotBelieved, match="does not hold"):
            keyring.verify(other, body, read(name, body))


def test_nobody_speaks_for_another(places: tuple[Path, Path]) -> None:
    make_key("beijing", *places)
    tianjin = Signer.from_file(make_key("tianjin", *places))
    with pytest.raises(NotBelieved, match="nobody knows"):
        verified(Keyring(places[1]), STATUS, tianjin.record(STATUS, status("beijing")))


def test_no_other_algorithm_than_that_of_the_key(places: tuple[Path, Path], algorithm: str) -> None:
    body = Signer.from_file(make_key("beijing", *places, algorithm=algorithm)).record(STATUS, status())
    for name in {"none", "", "ed25519", "sm2-sm3", "Ed25519"} - {algorithm}:
        with pytest.raises(NotBelieved, match="nobody knows"):
            Keyring(places[1]).verify(STATUS, body, {**read(STATUS, body), "algorithm": name})


def test_a_new_key_is_believed_and_signs_without_a_start(places: tuple[Path, Path], algorithm: str) -> None:
    private, folder = places
    signing_key = make_key("beijing", private, folder).rename(private / "signing.json")
    signer, keyring = Signer.from_file(signing_key), Keyring(folder)
    first, before = signer.key_id, signer.record(STATUS, status())
    verified(keyring, STATUS, before)
    waiting = make_key("beijing", private, folder, algorithm=algorithm)
    assert read(STATUS, signer.record(STATUS, status()))["key_id"] == first, "one that waits signs nothing"
    assert switch(signing_key, waiting, folder) == first
    after = signer.record(STATUS, status())
    assert read(STATUS, after)["key_id"] == waiting.name.split(".")[1] != first
    assert read(STATUS, after)["algorithm"] == algorithm
    verified(keyring, STATUS, after)
    verified(keyring, STATUS, before)


def test_a_retired_key_is_believed_up_to_its_end_and_no_further(places: tuple[Path, Path]) -> None:
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    early, late = (signer.record(STATUS, status(made_at=at)) for at in (NOW, NOW + timedelta(seconds=1)))
    verified(keyring, STATUS, late)
    retire(places[1], "beijing", signer.key_id, NOW)
    verified(keyring, STATUS, early)
    with pytest.raises(NotBelieved, match="believed until"):
        verified(keyring, STATUS, late)
    (only,) = keyring.held()
    assert only.believed_until == NOW


def test_a_retired_key_is_held_against_our_clock_whatever_date_it_writes(places: tuple[Path, Path]) -> None:
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    antedated = signer.record(STATUS, status(made_at=NOW - timedelta(days=31)))
    retire(places[1], "beijing", signer.key_id, NOW)
    verified(keyring, STATUS, antedated)
    for came in (NOW + timedelta(milliseconds=1), NOW + timedelta(days=30)):
        with pytest.raises(NotBelieved, match="believed until"):
            verified(keyring, STATUS, antedated, came)
    with pytest.raises(NotBelieved, match="believed until"):
        keyring.verify(STATUS, antedated, read(STATUS, antedated))  # nobody says when it came: now


def test_of_a_compromised_key_nothing_is_believed_and_no_later_retirement_mends_it(places: tuple[Path, Path]) -> None:
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    body = signer.record(STATUS, status(made_at=NOW - timedelta(days=31)))
    retire(places[1], "beijing", signer.key_id, NOW, compromised=True)
    retire(places[1], "beijing", signer.key_id, NOW + timedelta(days=9))
    with pytest.raises(NotBelieved, match="compromised"):
        verified(keyring, STATUS, body, NOW - timedelta(days=31))
    assert keyring.compromised("beijing", signer.key_id) and not keyring.compromised("beijing", "another")


def test_a_key_that_is_gone_is_not_believed(places: tuple[Path, Path]) -> None:
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    body = signer.record(STATUS, status())
    verified(keyring, STATUS, body)
    (places[1] / f"beijing.{signer.key_id}.json").unlink()
    with pytest.raises(NotBelieved, match="nobody knows"):
        verified(keyring, STATUS, body)


def test_a_file_that_is_half_copied_harms_no_key(places: tuple[Path, Path]) -> None:
    signer, keyring = Signer.from_file(make_key("beijing", *places)), Keyring(places[1])
    body = signer.record(STATUS, status())
    verified(keyring, STATUS, body)
    own = places[1] / f"beijing.{signer.key_id}.json"
    whole = own.read_text()
    own.write_text(whole[:20])
    (places[1] / "tianjin.1.json").write_text("{")
    (places[1] / "hebei.1.json").write_text("[]")
    verified(keyring, STATUS, body)
    with pytest.raises(UsageError, match=r"hebei\.1\.json, tianjin\.1\.json"):
        keyring.held()
    own.write_text(json.dumps({**json.loads(whole), "public": "AAAA"}))
    with pytest.raises(NotBelieved, match="does not hold"):
        verified(keyring, STATUS, body)


def test_a_file_speaks_for_nobody_but_whom_its_name_says(places: tuple[Path, Path]) -> None:
    signer = Signer.from_file(make_key("beijing", *places))
    own = places[1] / f"beijing.{signer.key_id}.json"
    own.rename(places[1] / f"tianjin.{signer.key_id}.json")
    with pytest.raises(NotBelieved, match="nobody knows"):
        verified(Keyring(places[1]), STATUS, signer.record(STATUS, status()))


@pytest.mark.parametrize("content", ["", "{", "another's", "no algorithm"])
def test_a_signing_key_that_is_no_good_takes_nothing_away(places: tuple[Path, Path], content: str) -> None:
    private, folder = places
    file = make_key("beijing", private, folder)
    known = json.loads(file.read_text())
    signer = Signer.from_file(file)
    texts = {
        "another's": make_key("tianjin", private, folder).read_text(),
        "no algorithm": json.dumps({**known, "algorithm": "rot13"}),
    }
    part = private / "part"
    part.write_text(texts.get(content, content))
    part.replace(file)
    verified(Keyring(folder), STATUS, signer.record(STATUS, status()))
    assert signer.province == "beijing"
    file.unlink()
    verified(Keyring(folder), STATUS, signer.record(STATUS, status()))


def test_a_key_signs_only_where_others_believe_it(places: tuple[Path, Path]) -> None:
    private, folder = places
    signing_key = make_key("beijing", private, folder).rename(private / "signing.json")
    with pytest.raises(UsageError, match="a key of tianjin"):
        switch(signing_key, make_key("tianjin", private, folder), folder)
    waiting = make_key("beijing", private, folder)
    retire(folder, "beijing", waiting.name.split(".")[1], NOW)
    with pytest.raises(UsageError, match="nobody would believe it"):
        switch(signing_key, waiting, folder)


def test_mistakes_are_said_and_show_no_key(places: tuple[Path, Path], tmp_path: Path) -> None:
    file = make_key("beijing", *places)
    secret = json.loads(file.read_text())["private"]
    assert file.stat().st_mode & 0o077 == 0, "for its owner's eyes only"
    assert secret not in repr(vars(Signer.from_file(file)))
    (tmp_path / "broken.json").write_text(json.dumps({"private": secret}))
    with pytest.raises(UsageError) as error:
        Signer.from_file(tmp_path / "broken.json")
    assert secret not in str(error.value)
    with pytest.raises(UsageError, match="no signing key"):
        Signer.from_file(tmp_path / "none.json")
    with pytest.raises(UsageError, match="'rsa'"):
        make_key("beijing", *places, algorithm="rsa")
    with pytest.raises(UsageError, match="no key"):
        retire(places[1], "beijing", "ffffffff", NOW)
    with pytest.raises(UsageError, match="no time zone"):
        retire(places[1], "beijing", "ffffffff", datetime(2026, 1, 1))
