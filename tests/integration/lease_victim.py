"""A miner that is to be killed: walks through every operation on a real engine, until its fuse.

Started by `test_lease_crash` as a process of its own. What it promised to its renter, it says on a
pipe before it goes on.
"""

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from compute.adapters.engine.docker import DockerEngine
from compute.crypto import sshkeys
from compute.domain.requirement import Requirement
from compute.miner.service import MinerService
from compute.protocol.synapses import ChallengeRequest, ChallengeStep, LeaseAction
from compute.testing.crash import Fuse, Fused
from compute.testing.leases import FakeRenter, real_service

KEY = "the-victims-lease"
SMALL = Requirement(memory_mib=128, disk_mib=64)


def renter_of(service: MinerService, key_pem: bytes) -> FakeRenter:
    """The renter whose key both the victim and its examiner know."""
    key = load_pem_private_key(key_pem, None)
    assert isinstance(key, RSAPrivateKey)
    renter = FakeRenter(service, key=key)
    # The SSH key is part of the request, which has to be repeated word by word.
    renter.ssh = sshkeys.SshKeyPair("", SSH_LINE)
    return renter


SSH_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII7xGV4ZREnMsxcT+/aiq8RIUv0g+a67ks6jzJEfM6HV"


def live(
    folder: str, engine_url: str, image: str, key_pem: bytes, blow_at: int, say: Connection
) -> None:
    """One life, killed at a point of its fuse; 0 lets it end by itself, and says its points."""
    fuse = Fuse(blow_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    engine: Any = Fused(DockerEngine(engine_url), fuse)
    service = real_service(
        Path(folder), engine_url, image, engine=engine, first_port=29_100, last_port=29_119
    )
    service.start()
    renter = renter_of(service, key_pem)
    reply = renter.allocate(idempotency_key=KEY, requirement=SMALL)
    say.send(("promised", reply.lease_id))
    walk(service, renter, reply.lease_id)
    say.send(("releasing", reply.lease_id))
    renter.operate(reply.lease_id, LeaseAction.RELEASE)
    say.send(("released", reply.lease_id))
    service.stop()
    say.send(("points", len(fuse.passed)))


def walk(service: MinerService, renter: FakeRenter, lease_id: str) -> None:
    """Every operation once, and a challenge in between."""
    renter.operate(lease_id, LeaseAction.PAUSE)
    renter.operate(lease_id, LeaseAction.UNPAUSE)
    renter.operate(lease_id, LeaseAction.EXTEND, duration_s=60)
    renter.operate(lease_id, LeaseAction.EXCHANGE_KEY, ssh_public_key=SSH_LINE)
    opened = service.handle_challenge(ChallengeRequest(step=ChallengeStep.OPEN), renter.context())
    service.handle_challenge(
        ChallengeRequest(step=ChallengeStep.CLOSE, session=opened.session), renter.context()
    )
    renter.operate(lease_id, LeaseAction.RESTART)
    renter.operate(lease_id, LeaseAction.LOGS, tail=1)
