"""SSH key pairs and fingerprints, as OpenSSH writes them."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.errors import Code, LeaseError

ACCEPTED_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


@dataclass(frozen=True, slots=True)
class SshKeyPair:
    """An ed25519 key pair.

    Attributes:
        private: OpenSSH private key file content; never shown in a representation.
        public: `ssh-ed25519 base64`, without a comment.
    """

    private: str = field(repr=False)
    public: str


def generate() -> SshKeyPair:
    """Make a fresh ed25519 key pair (about 0.1 ms)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return SshKeyPair(private.decode(), public.decode())


def fingerprint(public: str) -> str:
    """`SHA256:…` of a public key line, as `ssh-keygen -l` prints it.

    Raises:
        LeaseError: `BAD_KEY` when the line is not a key.
    """
    try:
        blob = b64decode(public.split()[1], validate=True)
    except (IndexError, Base64Error, ValueError) as error:
        raise LeaseError(Code.BAD_KEY, "not an OpenSSH public key line") from error
    return "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")


def check_public_key(line: str) -> str:
    """Check and normalise a renter's public key line: type and key, without options or comment.

    Raises:
        LeaseError: `BAD_KEY` when it is not a key of an accepted type.
    """
    parts = line.split()
    if not parts or parts[0] not in ACCEPTED_TYPES or "\n" in line or "\r" in line:
        raise LeaseError(Code.BAD_KEY, "not an OpenSSH public key line of an accepted type")
    fingerprint(line)
    if not parts[0].startswith("sk-"):
        try:
            serialization.load_ssh_public_key(" ".join(parts[:2]).encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise LeaseError(Code.BAD_KEY, "the SSH public key is damaged") from error
    return " ".join(parts[:2])
