"""A renter for tests and benches: asks a miner's handlers for leases and operates on them."""

import base64
import io
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from compute.crypto import envelope, possession, sshkeys
from compute.miner.service import MinerService, open_service
from compute.ports.engine import Engine
from compute.protocol.context import RequestContext
from compute.protocol.synapses import (
    AllocateReply,
    AllocateRequest,
    Credentials,
    LeaseAction,
    LeaseArguments,
    LeaseReply,
    LeaseRequest,
)
from compute.settings.leases import LeaseSettings
from compute.testing.engine import FakeEngine
from compute.testing.host import FakeHardware, ManualClock
from compute.testing.wallets import dev_wallet

Build = Callable[..., MinerService]
"""Makes a service, of other hardware or with other settings if told so."""
KEY_BITS = 3072
ADDRESS = "127.0.0.2"  # of published ports: the loopback network, but not everybody's own corner
_PORTS = 100
# Prover that answers each frame (length as four bytes, then so many bytes) with the same reversed.
MIRROR = b"""
import sys
while head := sys.stdin.buffer.read(4):
    data = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    sys.stdout.buffer.write(data[::-1])
    sys.stdout.buffer.flush()
"""


def lease_settings(state: Path, engine_url: str, **fields: Any) -> LeaseSettings:
    """Settings of a miner on a real engine, with host ports that hardly collide with others'."""
    first = 20_000 + _PORTS * secrets.randbelow(100)
    defaults: dict[str, Any] = {
        "state": state,
        "engine": engine_url,
        "bind_address": ADDRESS,
        "advertised_host": ADDRESS,
        "first_port": first,
        "last_port": first + _PORTS - 1,
        "leases_per_cpu": 32,
        "default_disk_mib": 256,
        "guard": False,
        "grace_s": 2,
    }
    return LeaseSettings.model_validate({**defaults, **fields})


def real_service(
    state: Path,
    engine_url: str,
    image: str,
    program: bytes = MIRROR,
    engine: Engine | None = None,
    **fields: Any,
) -> MinerService:
    """A miner's service on a real engine, composed but not started."""
    return open_service(
        engine=engine,
        settings=lease_settings(state, engine_url, **fields),
        key=dev_wallet("Alice").hotkey,
        image=image,
        program=lambda: program,
    )


@cache
def renter_key(name: str = "renter") -> rsa.RSAPrivateKey:
    """An RSA key, made once for each name: making one takes a tenth of a second."""
    del name
    return rsa.generate_private_key(65537, KEY_BITS)


class FakeRenter:
    """Rents from one miner's service, without the HTTP in between.

    Args:
        service: the miner's.
        name: of the development wallet that asks.
        key: private key of its leases; made once for each name unless given.
    """

    def __init__(
        self, service: MinerService, name: str = "Bob", key: rsa.RSAPrivateKey | None = None
    ) -> None:
        self.service = service
        self.hotkey = dev_wallet(name).address
        self.key = key or renter_key(name)
        self.ssh = sshkeys.generate()
        self.public_pem = (
            self.key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )
        self._nonce = time.time_ns()

    def context(self) -> RequestContext:
        """An admitted request of this renter."""
        return RequestContext(self.hotkey, secrets.token_hex(16), time.time())

    def request(self, **fields: Any) -> AllocateRequest:
        """A request with this renter's keys; fields replace the defaults."""
        defaults: dict[str, Any] = {
            "idempotency_key": secrets.token_hex(8),
            "duration_s": 600,
            "renter_public_key": self.public_pem,
            "ssh_public_key": self.ssh.public,
        }
        return AllocateRequest(**{**defaults, **fields})

    def allocate(self, **fields: Any) -> AllocateReply:
        """Ask for a lease."""
        return self.service.handle_allocate(self.request(**fields), self.context())

    def operate(self, lease_id: str, action: LeaseAction, **arguments: Any) -> LeaseReply:
        """Operate on a lease with proof of possession."""
        given = LeaseArguments(**arguments)
        self._nonce += 1
        said = possession.statement(lease_id, action.value, given.digest(), self._nonce)
        request = LeaseRequest(
            lease_id=lease_id,
            action=action,
            arguments=given,
            nonce=self._nonce,
            proof=possession.prove(self.key, said),
        )
        return self.service.handle_lease(request, self.context())

    def open(self, reply: AllocateReply) -> Credentials:
        """Open the sealed credentials of a lease."""
        bound = envelope.context(reply.lease_id, self.service.host.key.ss58_address, self.hotkey)
        return Credentials.model_validate_json(envelope.unseal(reply.credentials, self.key, bound))

    def login(self, credentials: Credentials, user: str = "") -> paramiko.SSHClient:
        """Log in with the pinned host key."""
        kind, blob = credentials.host_key.split()
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.get_host_keys().add(
            f"[{credentials.host}]:{credentials.port}",
            kind,
            paramiko.Ed25519Key(data=base64.b64decode(blob)),
        )
        client.connect(
            credentials.host,
            credentials.port,
            user or credentials.user,
            pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(self.ssh.private)),
            look_for_keys=False,
            allow_agent=False,
            timeout=20,
            banner_timeout=20,
            auth_timeout=20,
        )
        return client

    def run(self, credentials: Credentials, command: str, *, user: str = "") -> tuple[int, str]:
        """Log in, run a command, and answer its exit status and output."""
        client = self.login(credentials, user)
        try:
            _, out, err = client.exec_command(command, timeout=60)
            text = out.read().decode(errors="replace") + err.read().decode(errors="replace")
            return out.channel.recv_exit_status(), text
        finally:
            client.close()


@contextmanager
def building(folder: Path, engine: FakeEngine, clock: ManualClock) -> Iterator[Build]:
    """Makes services on one state folder, as restarts of a miner do; their threads end with it.

    Args:
        folder: their state.
        engine: in memory, outlives them.
        clock: time that only the test moves.
    """
    made: list[MinerService] = []

    def make(hardware: FakeHardware | None = None, **settings: object) -> MinerService:
        values = {"state": folder, "guard": False, "advertised_host": "127.0.0.2", **settings}
        service = open_service(
            LeaseSettings.model_validate(values),
            key=dev_wallet("Alice").hotkey,
            image="base:latest",
            program=lambda: b"program",
            engine=engine,
            hardware=hardware or FakeHardware(),
            clock=clock,
            ready=lambda _address, _port, _timeout: None,
        )
        made.append(service)
        return service

    yield make
    for service in made:
        service.manager.close(1)
