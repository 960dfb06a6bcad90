"""Optional TLS without an authority: the certificate's SHA-256 is published on chain and pinned.

The chain's `serve_axon_tls` takes at most 64 bytes of key material and an algorithm number; the
32 bytes of a certificate's SHA-256 fit. Receipts and request signatures authenticate both sides
with or without TLS: what TLS adds is that nobody on the way can read along.
"""

import datetime as dt
import os
import ssl
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from compute.errors import UsageError

_VALID = dt.timedelta(days=3650)  # trust comes from the pin, so age adds nothing
_EARLIER = dt.timedelta(days=1)  # for clocks that are behind


def make_certificate(path: Path) -> bytes:
    """Make a key and a self-signed certificate in one PEM file (mode 0600).

    Returns:
        The certificate's SHA-256 (of its DER form), 32 bytes: what is published and pinned.

    Raises:
        UsageError: when the file exists already or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "axon")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private + certificate.public_bytes(Encoding.PEM))
    except OSError as error:
        raise UsageError(f"the certificate cannot be written: {error.strerror}") from error
    return fingerprint(path)


def fingerprint(path: Path) -> bytes:
    """SHA-256 of the certificate in a PEM file.

    Raises:
        UsageError: when there is none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError("there is no certificate in that file") from error
    return sha256(certificate.public_bytes(Encoding.DER)).digest()


def ensure_certificate(path: Path) -> bytes:
    """Make a key and a certificate unless the file is there already.

    Returns:
        The certificate's SHA-256, 32 bytes.

    Raises:
        UsageError: when it cannot be written, or what is there is no certificate.
    """
    return fingerprint(path) if path.exists() else make_certificate(path)


def server_context(path: Path) -> ssl.SSLContext:
    """Context for `Axon(tls=…)` from a PEM file with key and certificate.

    Raises:
        UsageError: when the file holds no such pair.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise UsageError("there is no key and certificate in that file") from error
    return context
