"""The renter's own record of his leases: keys, credentials and pinned host keys, on his disk.

One folder a lease under `<state>/leases`, readable by its owner only. Written before the request is
sent, so that no lease is ever made whose key is lost; the folder's `ssh_config` makes plain `ssh`,
`scp` and `rsync` work with the lease's name.
"""

import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import ValidationError

from compute.crypto import sshkeys
from compute.domain.hardware import Value
from compute.errors import Code, ComputeError, LeaseError, UsageError
from compute.protocol.address import Peer
from compute.protocol.synapses import Credentials

if TYPE_CHECKING:
    from compute.protocol.receipts import Receipt

KEY_BITS = 3072
RECEIPTS = "receipts"
_NAME = re.compile(r"^[a-z][a-z0-9-]{0,40}$")
_WORDS = (
    *("amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "juniper"),
    *("kestrel", "lagoon", "maple", "nimbus", "opal", "pine", "quartz", "raven", "slate", "tundra"),
)


class LeaseRecord(Value):
    """What the renter knows of one lease.

    Attributes:
        name: the renter's own name for it.
        miner: hotkey of the miner.
        address: `ip:port` of the miner's axon when the lease was made.
        idempotency_key: of the request, so that a repeat finds the same lease.
        credentials: opened; None until the miner has answered.
        certificate_sha256: of the axon's TLS certificate then, in hex; empty: plain HTTP.
    """

    name: str
    miner: str
    address: str
    idempotency_key: str
    netuid: int
    created_at: float
    credentials: Credentials | None = None
    ended: bool = False
    certificate_sha256: str = ""

    @property
    def peer(self) -> Peer:
        """The miner's axon.

        Raises:
            PeerError: `ADDRESS_REFUSED` when the address is none.
        """
        return Peer.parse(self.miner, self.address, bytes.fromhex(self.certificate_sha256) or None)

    @property
    def opened(self) -> Credentials:
        """The lease's credentials.

        Raises:
            LeaseError: `LEASE_UNKNOWN` when the request was never answered.
        """
        if self.credentials is None:
            raise LeaseError(
                Code.LEASE_UNKNOWN,
                f"'{self.name}' was asked for but never answered",
                hint=f"'compute up --resume {self.name}' asks again for the same lease",
            )
        return self.credentials

    @property
    def lease_id(self) -> str:
        """The lease's id; raises `LeaseError` like `opened`."""
        return self.opened.lease_id

    def standing(self, now: float) -> str:
        """What this machine knows of it: `unanswered`, `up` or `over`; `now` in Unix seconds."""
        if self.credentials is None:
            return "unanswered"
        return "over" if self.ended or self.credentials.expires_at <= now else "up"


@dataclass(frozen=True, slots=True)
class LeaseKeys:
    """The two key pairs of one lease, from the renter's disk."""

    rsa: RSAPrivateKey
    ssh: sshkeys.SshKeyPair

    @property
    def public_pem(self) -> str:
        """The RSA public key in PEM, as `AllocateRequest` wants it."""
        return (
            self.rsa.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )


def new_keys() -> LeaseKeys:
    """Make both key pairs of a lease (a few tenths of a second, for RSA)."""
    return LeaseKeys(rsa.generate_private_key(65537, KEY_BITS), sshkeys.generate())


class LeaseBook:
    """Folder of lease records and keys.

    Args:
        root: state folder of the renter; made with mode 0700 when it is missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / "leases"

    def folder(self, name: str) -> Path:
        """Folder of one lease; raises `UsageError` for a name that could leave the book."""
        if not _NAME.match(name):
            raise UsageError(
                f"'{name}' cannot be a lease's name",
                hint="use a letter, then letters, digits and dashes, all lower case",
            )
        return self._root / name

    def new_name(self) -> str:
        """A name that is not taken yet."""
        while True:
            name = f"{secrets.choice(_WORDS)}-{secrets.choice(_WORDS)}-{secrets.randbelow(100):02d}"
            if not (self._root / name).exists():
                return name

    def open(self, record: LeaseRecord) -> LeaseKeys:
        """Make keys for a new lease and write its record; raises `UsageError` when it exists."""
        folder = self.folder(record.name)
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise UsageError(
                f"there is a lease named '{record.name}' already", hint="choose another --name"
            ) from None
        except OSError as error:
            raise ComputeError(Code.STORAGE_FAILED, f"{self._root}: {error.strerror}") from error
        keys = new_keys()
        pem = keys.rsa.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(folder / "rsa.pem", pem)
        _write(folder / "id_ed25519", keys.ssh.private.encode())
        _write(folder / "id_ed25519.pub", f"{keys.ssh.public}\n".encode())
        self.save(record)
        return keys

    def save(self, record: LeaseRecord) -> None:
        """Write a record, and the SSH files that follow from it."""
        folder = self.folder(record.name)
        _write(folder / "lease.json", record.model_dump_json(indent=2).encode())
        if record.credentials is not None:
            _write(folder / "known_hosts", _known_hosts(record.credentials).encode())
            _write(folder / "ssh_config", _ssh_config(record, folder).encode())
        self._write_include()

    def attach(self, name: str, file: str, content: str) -> None:
        """Keep a document beside a lease's record."""
        _write(self.folder(name) / file, content.encode())

    def attached(self, name: str, file: str) -> str:
        """A document kept beside a lease's record; raises `LeaseError` when there is none."""
        try:
            return (self.folder(name) / file).read_text()
        except OSError as error:
            raise LeaseError(Code.LEASE_UNKNOWN, f"'{name}' has no {file}") from error

    def keep_receipt(self, name: str, receipt: "Receipt") -> None:
        """Keep a miner's signed answer about a lease, named by the request's time."""
        folder = self.folder(name) / RECEIPTS
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(folder / f"{receipt.nonce}.json", receipt.to_json().encode())

    def receipts(self, name: str) -> list[Path]:
        """Files of a lease's receipts, oldest first."""
        return sorted((self.folder(name) / RECEIPTS).glob("*.json"))

    def get(self, name: str) -> LeaseRecord:
        """The record of this name or lease id; raises `LeaseError` `LEASE_UNKNOWN`."""
        for record in self.all():
            if name in (record.name, record.credentials and record.credentials.lease_id):
                return record
        raise LeaseError(Code.LEASE_UNKNOWN, f"there is no lease '{name}' in {self._root}")

    def keys(self, name: str) -> LeaseKeys:
        """The keys of one lease; raises `LeaseError` when they are missing or damaged."""
        folder = self.folder(name)
        try:
            private = serialization.load_pem_private_key((folder / "rsa.pem").read_bytes(), None)
            ssh = sshkeys.SshKeyPair(
                (folder / "id_ed25519").read_text(), (folder / "id_ed25519.pub").read_text().strip()
            )
        except (OSError, ValueError) as error:
            raise LeaseError(Code.LEASE_UNKNOWN, f"the keys of '{name}' cannot be read") from error
        if not isinstance(private, RSAPrivateKey):
            raise LeaseError(Code.BAD_KEY, f"the key of '{name}' is not RSA")
        return LeaseKeys(private, ssh)

    def replace_ssh_key(self, name: str, keys: sshkeys.SshKeyPair) -> None:
        """Put a new SSH key in the place of a lease's old one."""
        folder = self.folder(name)
        _write(folder / "id_ed25519", keys.private.encode())
        _write(folder / "id_ed25519.pub", f"{keys.public}\n".encode())
        (folder / "id_ed25519.new").unlink(missing_ok=True)

    def all(self) -> list[LeaseRecord]:
        """Every record, oldest first; a damaged one is left out."""
        records = []
        for path in self._root.glob("*/lease.json"):
            try:
                records.append(LeaseRecord.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError, json.JSONDecodeError):
                continue
        return sorted(records, key=lambda record: record.created_at)

    def forget(self, name: str) -> None:
        """Remove a lease's folder, keys included."""
        shutil.rmtree(self.folder(name), ignore_errors=True)
        self._write_include()

    @property
    def include(self) -> Path:
        """A file for `Include` in `~/.ssh/config`: all lease names at once."""
        return self._root / "ssh_config"

    def _write_include(self) -> None:
        lines = [
            f'Include "{self.folder(record.name) / "ssh_config"}"'
            for record in self.all()
            if record.credentials is not None and not record.ended
        ]
        _write(self.include, ("\n".join(lines) + "\n").encode())


def _known_hosts(credentials: Credentials) -> str:
    host, port = credentials.host, credentials.port
    name = host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004 - as OpenSSH writes them
    return f"{name} {credentials.host_key}\n"


def _ssh_config(record: LeaseRecord, folder: Path) -> str:
    credentials = record.credentials
    if credentials is None:
        return ""
    return f"""Host {record.name}
    HostName {credentials.host}
    Port {credentials.port}
    User {credentials.user}
    IdentityFile "{folder / "id_ed25519"}"
    IdentitiesOnly yes
    UserKnownHostsFile "{folder / "known_hosts"}"
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    ServerAliveInterval 15
"""


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ComputeError(Code.STORAGE_FAILED, f"{path}: {error.strerror}") from error
