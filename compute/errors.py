"""One error tree and one catalogue for everything that can go wrong.

The catalogue feeds three places that must never disagree: the wire (`application/problem+json`),
the exit codes of the commands, and the docs page of errors.

::

    Exception
    └── ComputeError(code, detail, hint)
        ├── UsageError        the person or the settings asked for something impossible
        ├── WalletError       keys that are missing, locked or not registered
        ├── ChainError        the chain refused, or is away
        ├── EngineError       the container engine refused, or is away
        ├── LeaseError        a lease cannot be made or operated on
        ├── AdmissionError    a request that an axon turns away
        ├── PeerError         another neuron answered wrongly, late or not at all
        ├── ProofError        a proof of GPU that does not hold
        └── ProbeError        a health check that failed
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the catalogue.

    Attributes:
        slug: stable identifier on the wire and in `compute explain`.
        title: what happened, in one line.
        hint: what the reader can do about it.
        http_status: status of a problem answer that carries it.
        exit_code: exit status of a command that ends with it (1 to 125).
        retryable: whether the same request may succeed later without any change.
    """

    slug: str
    title: str
    hint: str
    http_status: int
    exit_code: int
    retryable: bool = False


class Code(Enum):
    """Every error that the product can show, with its row of the catalogue."""

    # Exit 1: our own fault. Exit 2: usage. 3x: wallet and chain. 4x: engine and host.
    # 5x: leases. 6x: admission. 7x: peers. 8x: proof. 9x: probes.
    INTERNAL = ErrorSpec(
        "internal",
        "something went wrong inside",
        "look up the trace id in the neuron's log, and report it if it happens again",
        500,
        1,
    )
    USAGE = ErrorSpec(
        "usage", "the command or its settings are wrong", "see --help for what is accepted", 400, 2
    )
    PORT_TAKEN = ErrorSpec(
        "port_taken",
        "the port is already in use",
        "choose another with --axon.port, or stop what listens there",
        500,
        3,
    )
    WALLET_MISSING = ErrorSpec(
        "wallet_missing",
        "the wallet's hotkey was not found",
        "check --wallet.path, --wallet.name and --wallet.hotkey, or make one with btcli",
        500,
        30,
    )
    NOT_REGISTERED = ErrorSpec(
        "not_registered",
        "the hotkey is not registered on this subnet",
        "register it with 'btcli subnets register --netuid N', then start again",
        403,
        31,
    )
    CHAIN_AWAY = ErrorSpec(
        "chain_away",
        "the chain cannot be reached",
        "check --subtensor.network and the connection; the work resumes by itself when it is back",
        503,
        32,
        retryable=True,
    )
    CHAIN_REFUSED = ErrorSpec(
        "chain_refused",
        "the chain refused the transaction",
        "the detail carries the chain's own reason",
        502,
        33,
    )
    CHAIN_RATE_LIMITED = ErrorSpec(
        "chain_rate_limited",
        "the chain's rate limit has not passed yet",
        "it is tried again by itself after the limit",
        429,
        34,
        retryable=True,
    )
    SUBNET_MISSING = ErrorSpec(
        "subnet_missing", "the subnet does not exist on this chain", "check --netuid", 404, 35
    )
    ENGINE_AWAY = ErrorSpec(
        "engine_away",
        "the container engine does not answer",
        "start Docker, or point DOCKER_HOST at a running engine",
        503,
        40,
        retryable=True,
    )
    ENGINE_FAILED = ErrorSpec(
        "engine_failed",
        "the container engine refused",
        "the detail carries the engine's own reason; 'compute doctor' checks the host",
        500,
        41,
    )
    IMAGE_MISSING = ErrorSpec(
        "image_missing",
        "the image is not on this miner",
        "ask for the miner's default image, or one that its Specs list",
        404,
        42,
    )
    BUILD_FAILED = ErrorSpec(
        "build_failed",
        "building the image failed",
        "the detail carries the build's last lines",
        422,
        43,
    )
    DISK_FULL = ErrorSpec(
        "disk_full",
        "the host's disk is full",
        "free space, or lower the image budget; 'compute miner prune' removes unused images",
        507,
        44,
    )
    HOST_UNFIT = ErrorSpec(
        "host_unfit",
        "the host lacks something that is needed",
        "install what the detail names",
        500,
        45,
    )
    STORAGE_FAILED = ErrorSpec(
        "storage_failed",
        "the state database cannot be used",
        "check that the state folder exists, is writable and has space",
        500,
        46,
    )
    NO_CAPACITY = ErrorSpec(
        "no_capacity",
        "the miner has not enough free capacity",
        "ask for less, try another miner, or wait until a lease ends",
        409,
        50,
        retryable=True,
    )
    LEASE_UNKNOWN = ErrorSpec(
        "lease_unknown",
        "there is no such lease",
        "list yours with 'compute ps -a'",
        404,
        51,
    )
    LEASE_STATE = ErrorSpec(
        "lease_state",
        "the lease's state does not allow this",
        "look at its state with 'compute show'",
        409,
        52,
    )
    POSSESSION = ErrorSpec(
        "possession",
        "possession of the lease's private key was not proven",
        "use the key that the lease was made with",
        403,
        53,
    )
    TOO_LONG = ErrorSpec(
        "too_long",
        "the lease would be longer than the miner allows",
        "ask for a shorter time",
        422,
        54,
    )
    UNSUPPORTED = ErrorSpec(
        "unsupported",
        "the miner does not offer this",
        "its Specs say what it offers",
        422,
        55,
    )
    BAD_KEY = ErrorSpec(
        "bad_key",
        "the key cannot be used",
        "send an RSA public key of at least 3072 bits in PEM, or an OpenSSH public key line",
        422,
        56,
    )
    IDEMPOTENCY = ErrorSpec(
        "idempotency",
        "the idempotency key was used for a different request",
        "use a fresh key for a new request",
        409,
        57,
    )
    CREDENTIALS = ErrorSpec(
        "credentials",
        "the sealed credentials cannot be opened",
        "use the private key whose public key the lease was made with",
        422,
        58,
    )
    MALFORMED = ErrorSpec(
        "malformed",
        "the request cannot be understood",
        "the detail names the fields that are wrong; the OpenAPI document describes them",
        400,
        60,
    )
    TOO_LARGE = ErrorSpec("too_large", "the message is larger than allowed", "send less", 413, 61)
    UNAUTHENTICATED = ErrorSpec(
        "unauthenticated",
        "the request is not signed, or its signature does not hold",
        "sign with btauth/1 for this receiver",
        401,
        62,
    )
    STALE = ErrorSpec(
        "stale",
        "the request's nonce is outside the freshness window",
        "set the clock by NTP and send again",
        401,
        63,
    )
    REPLAYED = ErrorSpec(
        "replayed",
        "the request was seen before, or is older than this process",
        "sign each request anew",
        401,
        64,
    )
    DENIED = ErrorSpec(
        "denied",
        "the caller is not allowed here",
        "a validator permit and the configured stake are needed, and no entry on the deny list",
        403,
        65,
    )
    RATE_LIMITED = ErrorSpec(
        "rate_limited",
        "too many requests",
        "wait as long as retry_after says",
        429,
        66,
        retryable=True,
    )
    BUSY = ErrorSpec(
        "busy",
        "the neuron is at its limit",
        "wait as long as retry_after says",
        503,
        67,
        retryable=True,
    )
    VERSION = ErrorSpec(
        "version",
        "this version of the synapse is not spoken here",
        "the detail lists the versions that are",
        400,
        68,
    )
    NOT_FOUND = ErrorSpec(
        "not_found", "there is nothing at this address", "see /openapi.json", 404, 69
    )
    PEER_AWAY = ErrorSpec(
        "peer_away",
        "the neuron cannot be reached",
        "check its address on chain, its port and its firewall",
        502,
        70,
        retryable=True,
    )
    PEER_LATE = ErrorSpec(
        "peer_late",
        "the neuron did not answer in time",
        "try again, or another miner",
        504,
        71,
        retryable=True,
    )
    PEER_INVALID = ErrorSpec(
        "peer_invalid",
        "the neuron's answer is not valid",
        "the detail says what was wrong; do not trust this neuron",
        502,
        72,
    )
    RECEIPT = ErrorSpec(
        "receipt",
        "the answer's receipt is missing or does not hold",
        "do not trust this answer: it may not come from the neuron that you called",
        502,
        73,
    )
    ADDRESS_REFUSED = ErrorSpec(
        "address_refused",
        "the neuron announces an address that is not called",
        "allow private addresses in the settings if this is your own network",
        502,
        74,
    )
    SSH_CLOSED = ErrorSpec(
        "ssh_closed",
        "the SSH port is closed",
        "check the published port and the firewall on the miner",
        502,
        75,
        retryable=True,
    )
    HOST_KEY = ErrorSpec(
        "host_key",
        "the SSH host key is not the one in the credentials",
        "do not connect: somebody may be in between",
        502,
        76,
    )
    SSH_KEY_REFUSED = ErrorSpec(
        "ssh_key_refused",
        "the SSH key was not accepted",
        "use the key that the lease was made with, or the last one it was given",
        502,
        77,
    )
    SSH_SILENT = ErrorSpec(
        "ssh_silent",
        "SSH does not answer",
        "the container may be paused or out of memory; look at it with 'compute show'",
        504,
        78,
        retryable=True,
    )
    SSH_BROKEN = ErrorSpec(
        "ssh_broken", "the SSH connection broke", "try again", 502, 79, retryable=True
    )
    PROOF_FAILED = ErrorSpec(
        "proof_failed", "the proof of GPU does not hold", "the detail says which check", 422, 80
    )
    PROOF_LATE = ErrorSpec(
        "proof_late", "the proof came too late", "the hardware is slower than its class", 422, 81
    )
    PROVER_FAILED = ErrorSpec(
        "prover_failed",
        "the prover could not run",
        "look at the prover's own message in the detail",
        500,
        82,
    )
    EVIDENCE_BROKEN = ErrorSpec(
        "evidence_broken",
        "the evidence does not hold together",
        "the detail names the first record that was changed; ask for the file again",
        422,
        83,
    )
    REPLAY_DIFFERS = ErrorSpec(
        "replay_differs",
        "the evidence does not give the published weights",
        "do not trust this validator's weights",
        422,
        84,
    )
    PROBE_FAILED = ErrorSpec(
        "probe_failed", "a check failed", "the table says which and what to do", 500, 90
    )
    PROBE_INCONCLUSIVE = ErrorSpec(
        "probe_inconclusive",
        "a check could not be carried out",
        "the fault is on this side: the table says what was in the way",
        500,
        91,
        retryable=True,
    )

    PROBE_COMMAND = ErrorSpec(
        "probe_command",
        "a command inside the lease went wrong",
        "check the image that the miner leases out",
        500,
        92,
    )
    PROBE_GPUS = ErrorSpec(
        "probe_gpus",
        "the wrong number of GPUs is inside",
        "check the container toolkit on the miner and what else holds its GPUs",
        500,
        93,
    )
    PROBE_LIMITS = ErrorSpec(
        "probe_limits",
        "the lease's limits are not applied",
        "check that the engine applies cgroup limits on the miner",
        500,
        94,
    )
    PROBE_ISOLATION = ErrorSpec(
        "probe_isolation",
        "the lease reaches what it must not",
        "check the firewall rules that the miner sets for its bridge",
        500,
        95,
    )
    PROBE_TEARDOWN = ErrorSpec(
        "probe_teardown",
        "the lease was not torn down",
        "look at the miner's log for this lease",
        500,
        96,
    )
    PROBE_VIEW = ErrorSpec(
        "probe_view",
        "the miner's view of the chain is stale",
        "check the miner's connection to its chain node: strangers are turned away meanwhile",
        500,
        97,
    )
    PROBE_CLOCK = ErrorSpec(
        "probe_clock",
        "the miner's clock is wrong",
        "set the miner's clock by NTP: it refuses honest callers meanwhile",
        500,
        98,
    )

    @property
    def spec(self) -> ErrorSpec:
        """The row of the catalogue."""
        return self.value

    @classmethod
    def of(cls, slug: str) -> "Code":
        """Find a code by its slug; an unknown one is `INTERNAL`."""
        return next((code for code in cls if code.spec.slug == slug), cls.INTERNAL)


class ComputeError(Exception):
    """Base of every error that is meant to be read by a person.

    Args:
        code: row of the catalogue.
        detail: what happened this time; safe to send to a stranger, so it never holds a path,
            a secret or a stack trace.
        hint: replaces the catalogue's hint where more is known.
        retry_after_s: seconds after which a retry makes sense.
        data: small JSON-able facts for programs (never secrets).
    """

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        hint: str | None = None,
        retry_after_s: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or code.spec.title)
        self.code = code
        self.detail = detail
        self.hint = hint or code.spec.hint
        self.retry_after_s = retry_after_s
        self.data = data or {}

    def __str__(self) -> str:
        title = self.code.spec.title
        return f"{title}: {self.detail}" if self.detail else title

    def diagnostics(self) -> str:
        """One line for a person: what happened and what to do."""
        return f"{self} ({self.code.spec.slug}). {self.hint[:1].upper()}{self.hint[1:]}."


class UsageError(ComputeError):
    """The person or the settings asked for something impossible."""

    def __init__(self, detail: str, *, code: Code = Code.USAGE, hint: str | None = None) -> None:
        super().__init__(code, detail, hint=hint)


class WalletError(ComputeError):
    """Keys that are missing, locked or not registered."""


class ChainError(ComputeError):
    """The chain refused, or is away."""


class EngineError(ComputeError):
    """The container engine refused, or is away."""


class LeaseError(ComputeError):
    """A lease cannot be made or operated on."""


class AdmissionError(ComputeError):
    """A request that an axon turns away."""


class PeerError(ComputeError):
    """Another neuron answered wrongly, late or not at all."""


class ProofError(ComputeError):
    """A proof of GPU that does not hold."""


class ProbeError(ComputeError):
    """A health check that failed or could not be carried out."""
