"""The synapses: typed messages that neurons exchange, one POST each.

The models are the specification; the OpenAPI document of an axon is generated from them. Every
string, list and number is bounded, and unknown fields are refused.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic.functional_validators import AfterValidator, BeforeValidator

from compute.domain.hardware import HardwareReport, Name, Value
from compute.domain.lease import EndReason, LeaseKind, LeaseState
from compute.domain.requirement import Capacity, Requirement

VERSION: Literal[1] = 1
MAX_LEASE_S = 366 * 86_400
MAX_FRAME_BYTES = 8 * 1024 * 1024  # a whole opening of 64 units at n = 16384 in mode F is < 7 MiB

LeaseId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
SessionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{8,128}$")]
Ss58 = Annotated[str, StringConstraints(pattern=r"^[1-9A-HJ-NP-Za-km-z]{46,50}$")]
PublicKeyPem = Annotated[str, Field(min_length=300, max_length=4096)]
SshPublicKey = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9@.-]{6,64} [A-Za-z0-9+/=]{40,4096}( [^\r\n]{0,200})?$")
]
ImageReference = Annotated[str, Field(max_length=500)]
Port = Annotated[int, Field(ge=1, le=65535)]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvironmentValue = Annotated[str, StringConstraints(pattern=r"^[^\x00\r\n]{0,4096}$")]
Trace = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]


def _decode(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("not base64 text")  # noqa: TRY004 - pydantic turns only ValueError into a refusal
    return b64decode(value, validate=True)


Base64Bytes = Annotated[
    bytes,
    BeforeValidator(_decode),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


class Message(Value):
    """Base of every request and reply.

    Attributes:
        version: of the message's form; an axon answers an unknown one with those it speaks.
    """

    version: Literal[1] = VERSION


# --- Specs ---------------------------------------------------------------------------------------


class SpecsRequest(Message):
    """Ask a miner what it claims to have."""


class DiskEnforcement(StrEnum):
    """How a miner holds a lease to its disk size."""

    QUOTA = "quota"
    VOLUME = "volume"
    WATCH = "watch"
    NONE = "none"


class Terms(Value):
    """What a miner offers beside hardware.

    Attributes:
        longest_lease_s: longest lease in seconds, extensions included.
        internet: whether leases reach the internet.
        disk: how disk sizes are enforced.
        builds: whether Dockerfile instructions are accepted.
        images: whether image references other than the default are accepted.
        ports: how many extra ports a lease may publish.
    """

    longest_lease_s: Annotated[int, Field(ge=1, le=MAX_LEASE_S)]
    internet: bool
    disk: DiskEnforcement
    builds: bool = False
    images: bool = False
    ports: Annotated[int, Field(ge=0, le=64)] = 0


class SpecsReply(Message):
    """A miner's claim.

    Attributes:
        software: version of the miner.
        hosts: one report for each machine behind this miner.
        total: everything that can be leased.
        free: what can be leased now; the test slot is not counted.
        default_image: digest or id of the image a lease gets when it asks for none.
        images: digests or ids held, most recently used first.
    """

    software: Name
    hosts: Annotated[tuple[HardwareReport, ...], Field(max_length=256)]
    total: Capacity
    free: Capacity
    terms: Terms
    default_image: ImageReference
    images: Annotated[tuple[ImageReference, ...], Field(max_length=256)] = ()


# --- Allocate ------------------------------------------------------------------------------------


class AllocateRequest(Message):
    """Ask for a lease, or (with `checking`) whether it could be had now.

    Attributes:
        checking: only ask; nothing is reserved.
        idempotency_key: a repeat with the same key and content returns the same lease.
        kind: rental, or probe for the reserved test slot.
        renter_public_key: RSA of at least 3072 bits, PEM; credentials are sealed to it and
            operations prove possession of its private half.
        ssh_public_key: OpenSSH line that may log in.
        image: empty for the miner's default, else a reference with digest.
        dockerfile: instructions on top of the default image; excludes `image`.
        ports: container ports to publish beside SSH.
        environment: variables of the login shell; not for secrets.
        managers: other hotkeys that may operate on the lease with proof of possession.
        password: whether a password is wanted beside the key.
        idle_stop_s: end the lease when nothing happened for so long; 0 never.
    """

    checking: bool = False
    idempotency_key: IdempotencyKey
    kind: Literal[LeaseKind.RENTAL, LeaseKind.PROBE] = LeaseKind.RENTAL
    requirement: Requirement = Requirement()
    duration_s: Annotated[int, Field(ge=5, le=MAX_LEASE_S)]
    renter_public_key: PublicKeyPem
    ssh_public_key: SshPublicKey
    image: ImageReference = ""
    dockerfile: Annotated[str, Field(max_length=16384)] = ""
    ports: Annotated[tuple[Port, ...], Field(max_length=16)] = ()
    environment: Annotated[
        dict[EnvironmentName, EnvironmentValue], Field(max_length=64, default_factory=dict)
    ]
    managers: Annotated[tuple[Ss58, ...], Field(max_length=4)] = ()
    password: bool = False
    idle_stop_s: Annotated[int, Field(ge=0, le=MAX_LEASE_S)] = 0


class AllocateReply(Message):
    """The lease, or the answer to whether it could be had.

    Attributes:
        available: whether the requirement fits now (true when a lease was made).
        lease_id: empty when only checking.
        expires_at: Unix seconds; 0 when only checking.
        credentials: sealed envelope, see `compute.crypto.envelope`; empty when only checking.
        requirement: as granted.
        requested_at: when the miner took the request, Unix seconds.
        ready_at: when the container was ready for a login, Unix seconds.
    """

    available: bool
    lease_id: Annotated[str, Field(max_length=32)] = ""
    state: LeaseState | None = None
    expires_at: Annotated[float, Field(ge=0, le=2**40)] = 0
    credentials: Annotated[str, Field(max_length=32768)] = ""
    requirement: Requirement | None = None
    requested_at: Annotated[float, Field(ge=0, le=2**40)] = 0
    ready_at: Annotated[float, Field(ge=0, le=2**40)] = 0


class PublishedPort(Value):
    """A container port and where it is reached on the miner's host."""

    container: Port
    host: Port


def _ip(value: str) -> str:
    return str(ip_address(value))


Address = Annotated[str, Field(max_length=64), AfterValidator(_ip)]
UnixName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
HostKey = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/]{68}$")]
HostKeyFingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
Password = Annotated[str, StringConstraints(pattern=r"^[!-~]{0,128}$")]


class Credentials(Value):
    """What the sealed envelope holds: everything a renter needs to log in and to operate.

    A miner is a stranger and these go into the renter's SSH configuration: each is exactly what it
    says and nothing else.

    Attributes:
        host: IP address to dial.
        port: SSH port on that address.
        host_key: the lease's own SSH host key, as `type base64`.
        host_key_fingerprint: `SHA256:…` of the same.
        password: only when one was asked for.
        expires_at: Unix seconds.
        possession: how operations are proven, see `compute.crypto.possession`.
    """

    lease_id: LeaseId
    host: Address
    port: Port
    user: UnixName
    host_key: HostKey
    host_key_fingerprint: HostKeyFingerprint
    ports: Annotated[tuple[PublishedPort, ...], Field(max_length=16)] = ()
    password: Password = ""
    expires_at: Annotated[float, Field(ge=0, le=2**40)]
    possession: Literal["lease/1"] = "lease/1"


# --- Lease ---------------------------------------------------------------------------------------


class LeaseAction(StrEnum):
    """What the owner of a lease can do with it."""

    STATUS = "status"
    RELEASE = "release"
    EXTEND = "extend"
    RESTART = "restart"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EXCHANGE_KEY = "exchange_key"
    LOGS = "logs"


class LeaseArguments(Value):
    """Arguments of a lease operation; each action reads its own and refuses others.

    Attributes:
        duration_s: `extend`: seconds to add to the deadline.
        ssh_public_key: `exchange_key`: the line that replaces all authorized keys.
        tail: `logs`: how many of the last lines.
    """

    duration_s: Annotated[int, Field(ge=1, le=MAX_LEASE_S)] | None = None
    ssh_public_key: SshPublicKey | None = None
    tail: Annotated[int, Field(ge=1, le=2000)] | None = None

    def digest(self) -> str:
        """SHA-256 (hex) of the arguments as canonical JSON: set ones only, keys sorted."""
        fields = self.model_dump(exclude_none=True, mode="json")
        return sha256(
            json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()


class LeaseRequest(Message):
    """Operate on a lease, proving possession of its private key.

    Attributes:
        nonce: larger than any that this lease has accepted; nanoseconds of Unix time will do.
        proof: RSA-PSS signature, see `compute.crypto.possession`.
    """

    lease_id: LeaseId
    action: LeaseAction
    arguments: LeaseArguments = LeaseArguments()
    nonce: Annotated[int, Field(ge=1, le=2**63 - 1)]
    proof: Annotated[Base64Bytes, Field(max_length=1024)]


class LeaseEvent(Value):
    """One line of a lease's timeline."""

    at: float
    event: Name
    detail: Annotated[str, Field(max_length=500)] = ""


class TeardownProof(Value):
    """A miner's signed statement that a lease is gone from its hardware.

    The signature is the miner's hotkey's, over `teardown/1`, lease id, container id, `ended_at`
    in milliseconds and the checks in order, newline-joined.
    """

    container: Name
    ended_at: float
    checks: Annotated[tuple[Name, ...], Field(max_length=16)]
    hotkey: Ss58
    signature: Annotated[str, Field(max_length=256)]


class LeaseReply(Message):
    """A lease as its owner sees it."""

    lease_id: LeaseId
    kind: LeaseKind
    state: LeaseState
    created_at: float
    expires_at: float
    ended_at: float | None = None
    reason: EndReason | None = None
    detail: Annotated[str, Field(max_length=500)] = ""
    requirement: Requirement
    events: Annotated[tuple[LeaseEvent, ...], Field(max_length=512)] = ()
    logs: Annotated[str, Field(max_length=262_144)] = ""
    teardown: TeardownProof | None = None


# --- Challenge -----------------------------------------------------------------------------------


class ChallengeStep(StrEnum):
    """Steps of carrying one proof session over HTTP."""

    OPEN = "open"
    EXCHANGE = "exchange"
    CLOSE = "close"


class ChallengeRequest(Message):
    """Carry bytes to and from a prover on the miner: `compute.proof` says which.

    Attributes:
        session: empty to open, else the id that `open` answered.
        gpus: `open`: UUIDs of the GPUs to prove; empty proves on the CPU.
        data: `exchange`: bytes for the prover's standard input.
        expect: `exchange`: exactly how many bytes to answer from its standard output.
        wait_s: `exchange`: how long to wait for them.
    """

    step: ChallengeStep
    session: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    gpus: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    data: Annotated[Base64Bytes, Field(max_length=MAX_FRAME_BYTES)] = b""
    expect: Annotated[int, Field(ge=0, le=MAX_FRAME_BYTES)] = 0
    wait_s: Annotated[float, Field(ge=0, le=120)] = 30


class ChallengeReply(Message):
    """Bytes from the prover, exactly as many as expected."""

    session: SessionId
    data: Annotated[Base64Bytes, Field(max_length=MAX_FRAME_BYTES)] = b""


# --- The table -----------------------------------------------------------------------------------

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True)
class Synapse(Generic[RequestT, ReplyT]):
    """One kind of message: its models and its limits.

    Attributes:
        name: the path is `/{name}`.
        request_limit: largest request body in bytes.
        reply_limit: largest answer in bytes that a dendrite reads.
        timeout_s: how long a dendrite waits unless told otherwise.
    """

    name: str
    request: type[RequestT]
    reply: type[ReplyT]
    request_limit: int
    reply_limit: int
    timeout_s: float

    @property
    def path(self) -> str:
        """Request target of this synapse."""
        return f"/{self.name}"


KIB = 1024
_FRAME_JSON = MAX_FRAME_BYTES * 4 // 3 + 64 * KIB

SPECS = Synapse("Specs", SpecsRequest, SpecsReply, 4 * KIB, 1024 * KIB, 10)
ALLOCATE = Synapse("Allocate", AllocateRequest, AllocateReply, 512 * KIB, 64 * KIB, 60)
LEASE = Synapse("Lease", LeaseRequest, LeaseReply, 16 * KIB, 1024 * KIB, 60)
CHALLENGE = Synapse("Challenge", ChallengeRequest, ChallengeReply, _FRAME_JSON, _FRAME_JSON, 150)
