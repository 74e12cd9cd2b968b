"""The certificate authority of the fleet's services, and certificates of their servers.

Keys and certificates follow from the secret alone: a key of P-256 is a number, and signatures are those of RFC 6979, which
are not random. So every controller with the secret makes the same files, none of them is stored, and a run without changes
changes nothing. Ed25519 would do the same by itself, but libpq 15 fails at it ("could not find digest for NID UNDEF").
Only clients of the fleet trust the authority, by a file that the roles write; a new secret replaces all of it.
"""

from __future__ import annotations

import contextlib
import datetime
from ipaddress import ip_address

# ansible-core brings it to every controller; only what imports plugins to look at them, as ansible-test does, may lack it.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import derived

BEGIN = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
#: What RFC 5280 has for "no end": an end would need somebody who thinks of it.
END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)

#: Of P-256: its keys are the numbers below.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _key(secret: str, *purpose: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(derived.of(secret, "key", *purpose), "big")
    return ec.derive_private_key(number % (ORDER - 1) + 1, ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _builder(
    secret: str, subject: str, key: ec.EllipticCurvePrivateKey, purpose: str
) -> x509.CertificateBuilder:
    serial = int.from_bytes(derived.of(secret, "serial", purpose)[:16], "big") >> 1
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("Emperor Stack services"))
        .public_key(key.public_key())
        .serial_number(serial or 1)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )


def certificate(secret: str) -> str:
    """The authority's own certificate, by which clients verify a server."""
    key = _key(secret, "authority")
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        _builder(secret, "Emperor Stack services", key, "authority")
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem(made.sign(key, hashes.SHA256(), ecdsa_deterministic=True))


def server_key(secret: str, host: str) -> str:
    return (
        _key(secret, "server", host)
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


def server_certificate(secret: str, host: str, address: str) -> str:
    """Of inventory host *host*, for clients that connect to *address*."""
    issuer, key = _key(secret, "authority"), _key(secret, "server", host)
    names: list[x509.GeneralName] = [x509.IPAddress(ip_address(address))]
    made = (
        _builder(secret, "Emperor Stack server", key, f"server {host} {address}")
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
    )
    return _pem(made.sign(issuer, hashes.SHA256(), ecdsa_deterministic=True))
