"""The fingerprint of an axon's TLS certificate in the chain's `NeuronCertificates`.

An entry is an algorithm number and up to 64 bytes of key, which the chain keeps without a look.
Ours are a number of our own and the SHA-256 of the certificate. There is no call that removes an
entry, so one that is taken back is overwritten with an empty one: docs/adr/0067-tls-on-chain.md.
"""

from typing import Any

SHA256_OF_CERTIFICATE = 0xC5
"""Our algorithm number: far from the small ones that others may count up from."""
_TAKEN_BACK = 0
_SHA256_BYTES = 32


def published(certificate_sha256: bytes | None) -> str:
    """What `serve_axon_tls` takes, as 0x-hex; None takes back what was published."""
    if certificate_sha256 is None:
        return f"0x{_TAKEN_BACK:02x}"
    return f"0x{SHA256_OF_CERTIFICATE:02x}{certificate_sha256.hex()}"


def read(entry: Any) -> bytes | None:
    """The fingerprint in an entry; None for none, and for what others use entries for."""
    if not isinstance(entry, dict) or entry.get("algorithm") != SHA256_OF_CERTIFICATE:
        return None
    key = _bytes(entry.get("public_key"))
    return key if key is not None and len(key) == _SHA256_BYTES else None


def _bytes(value: Any) -> bytes | None:
    """Bytes as the SDK's transports decode them: raw, as 0x-hex, or as numbers."""
    try:
        if isinstance(value, str):
            return bytes.fromhex(value.removeprefix("0x"))
        return bytes(value) if isinstance(value, bytes | bytearray | list | tuple) else None
    except (ValueError, TypeError):
        return None
