"""Certificates of a secure local stack: an authority of its own, and one per server, for loopback names only.

They are made once, on the first start. An installation uses certificates of its own authority instead.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.files.private import private_folder, write_private

__all__ = ["have_certificates", "make_certificates"]

_VALID = timedelta(days=3650)


def make_certificates(folder: Path) -> None:
    """Write ca.pem, and a file with key and certificate for each server; existing ones stay.

    The authority's own key is discarded: nobody, not even this stack's user, can make another certificate.
    """
    if have_certificates(folder):
        return
    private_folder(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "xinliu local stack")])
    usage = x509.KeyUsage(
        digital_signature=False,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The broker is its own controller's client, so its certificate serves both ways; PostgreSQL's does not.
    _write_server(folder / "broker.pem", "broker", authority, key, also_client=True)
    for server in ("postgres", "registry"):
        _write_server(folder / f"{server}.pem", server, authority, key, also_client=False)
    # Last: its presence means that all are complete.
    write_private(folder / "ca.pem", authority.public_bytes(Encoding.PEM))


def have_certificates(folder: Path) -> bool:
    """Return whether every server has its certificate: older stacks have none for the registry."""
    return all((folder / name).exists() for name in ("registry.pem", "ca.pem"))


def _write_server(
    file: Path, name: str, authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey, *, also_client: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if also_client else [])
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(file, secret + certificate.public_bytes(Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )
