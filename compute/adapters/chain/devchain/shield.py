"""The shield that registration travels in: a call encrypted to the block's author.

The SDK submits `burned_register` only this way (ML-KEM-768 and XChaCha20-Poly1305), so that
nobody sees it before it is in a block. Here the chain's file holds the author's key, one for its
whole life where the real chain changes it with every block.
"""

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError

from compute.adapters.chain.devchain.file import Tx

KEY_HASH_BYTES = 16
NONCE_BYTES = 24


def public_key(tx: Tx) -> bytes:
    """The author's ML-KEM-768 public key, 1,184 bytes."""
    return _private(tx).public_key().public_bytes_raw()


def unshield(tx: Tx, ciphertext: bytes) -> bytes | None:
    """The encrypted transaction's bytes, or None when this key does not open them."""
    at = KEY_HASH_BYTES + 2
    length = int.from_bytes(ciphertext[KEY_HASH_BYTES:at], "little")
    sealed, nonce = ciphertext[at : at + length], ciphertext[at + length :][:NONCE_BYTES]
    try:
        secret = _private(tx).decapsulate(sealed)
        body = ciphertext[at + length + NONCE_BYTES :]
        return bytes(crypto_aead_xchacha20poly1305_ietf_decrypt(body, b"", nonce, secret))
    except (ValueError, TypeError, CryptoError):
        return None


def _private(tx: Tx) -> MLKEM768PrivateKey:
    (seed,) = tx.db.execute("SELECT value FROM meta WHERE key = 'shield_seed'").fetchone()
    return MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(seed))
