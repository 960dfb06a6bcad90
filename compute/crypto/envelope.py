"""Sealed envelopes: bytes that only the holder of an RSA private key can open.

A fresh AES-256-GCM key encrypts the content, RSA-OAEP (SHA-256, MGF1-SHA-256) wraps that key, and
the context (what the content belongs to) is bound as associated data, so that an envelope cannot
be moved to another lease or another pair of neurons.

Form: base64 of `0x01 | wrapped-key length (2, big-endian) | wrapped key | nonce (12) | ciphertext`.
"""

import os
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from compute.errors import Code, LeaseError

FORM = 1
LEAST_KEY_BITS = 3072
MOST_KEY_BITS = 8192  # larger keys only cost the sealing side time
NONCE_BYTES = 12
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def context(lease_id: str, miner_hotkey: str, renter_hotkey: str) -> bytes:
    """What an envelope of credentials is bound to: the lease and both hotkeys."""
    return f"envelope/1\n{lease_id}\n{miner_hotkey}\n{renter_hotkey}".encode()


def load_public_key(pem: str) -> RSAPublicKey:
    """Read a renter's public key.

    Raises:
        LeaseError: `BAD_KEY` unless it is an RSA public key of 3072 to 8192 bits in PEM with an
            ordinary public exponent.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LeaseError(Code.BAD_KEY, "not a public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise LeaseError(Code.BAD_KEY, "not an RSA key")
    if not LEAST_KEY_BITS <= key.key_size <= MOST_KEY_BITS:
        raise LeaseError(
            Code.BAD_KEY, f"{key.key_size} bits, not {LEAST_KEY_BITS} to {MOST_KEY_BITS}"
        )
    if key.public_numbers().e != 65537:  # noqa: PLR2004 - the one exponent that every tool makes
        raise LeaseError(Code.BAD_KEY, "the public exponent is not 65537")
    return key


def seal(content: bytes, key: RSAPublicKey, bound_to: bytes) -> str:
    """Encrypt content so that only the key's holder opens it, together with `bound_to`."""
    content_key = AESGCM.generate_key(bit_length=256)
    nonce = os.urandom(NONCE_BYTES)
    wrapped = key.encrypt(content_key, _OAEP)
    ciphertext = AESGCM(content_key).encrypt(nonce, content, bound_to)
    return b64encode(struct.pack(">BH", FORM, len(wrapped)) + wrapped + nonce + ciphertext).decode()


def unseal(envelope: str, key: RSAPrivateKey, bound_to: bytes) -> bytes:
    """Open an envelope.

    Raises:
        LeaseError: `CREDENTIALS` when the envelope is damaged, made for another key, or bound to
            something else. The message does not tell which.
    """
    try:
        raw = b64decode(envelope, validate=True)
        form, length = struct.unpack_from(">BH", raw)
        body = raw[3:]
        if form != FORM or length != key.key_size // 8 or len(body) < length + NONCE_BYTES:
            raise LeaseError(Code.CREDENTIALS)
        wrapped, nonce = body[:length], body[length : length + NONCE_BYTES]
        content_key = key.decrypt(wrapped, _OAEP)
        return AESGCM(content_key).decrypt(nonce, body[length + NONCE_BYTES :], bound_to)
    except (ValueError, Base64Error, struct.error, InvalidTag) as error:
        raise LeaseError(Code.CREDENTIALS) from error
