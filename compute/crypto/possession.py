"""Proof of possession: an operation on a lease is signed with the lease's private key.

RSA-PSS (SHA-256, MGF1-SHA-256, salt of the hash's length) over five lines joined by newlines:
`lease/1`, the lease id, the action, the SHA-256 of the arguments in hex, and the nonce in decimal.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from compute.errors import Code, LeaseError

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


def statement(lease_id: str, action: str, arguments_sha256: str, nonce: int) -> bytes:
    """The exact bytes that are signed."""
    return "\n".join(("lease/1", lease_id, action, arguments_sha256, str(nonce))).encode()


def prove(key: RSAPrivateKey, signed: bytes) -> bytes:
    """Sign a statement with the lease's private key."""
    return key.sign(signed, _PSS, hashes.SHA256())


def check(key: RSAPublicKey, signed: bytes, proof: bytes) -> None:
    """Check a proof against the lease's public key.

    Raises:
        LeaseError: `POSSESSION` when the signature does not hold.
    """
    try:
        key.verify(proof, signed, _PSS, hashes.SHA256())
    except InvalidSignature as error:
        raise LeaseError(Code.POSSESSION) from error
