"""The one noun of the product: a lease, its kinds, its states and what may follow what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from compute.domain.capacity import Assignment
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Instant
from compute.errors import Code, LeaseError


class LeaseKind(StrEnum):
    """What occupies the hardware; kinds differ only in what runs inside."""

    RENTAL = "rental"
    PROBE = "probe"
    CHALLENGE = "challenge"
    ENVIRONMENT = "environment"
    JOB = "job"
    TRACKER = "tracker"


class LeaseState(StrEnum):
    """Where a lease is in its life.

    ::

        REQUESTED → PROVISIONING → ACTIVE ⇄ PAUSED → ENDING → ENDED
                          └──────────────────────────→ │ ───→ FAILED

    Whatever has touched the engine passes through ENDING, which keeps its hardware until the
    engine has confirmed that nothing is left; the reason tells whether ENDED or FAILED follows.
    """

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a lease ended or failed."""

    DEADLINE = "deadline"
    RELEASED = "released"
    EVICTED = "evicted"
    IDLE = "idle"
    FAULT = "fault"
    LOST = "lost"


TERMINAL = frozenset({LeaseState.ENDED, LeaseState.FAILED})
LIVE = frozenset(LeaseState) - TERMINAL
FAILURES = frozenset({EndReason.FAULT, EndReason.LOST})
TEST_KINDS = frozenset({LeaseKind.PROBE, LeaseKind.CHALLENGE})

FOLLOWERS: Mapping[LeaseState, frozenset[LeaseState]] = MappingProxyType(
    {
        LeaseState.REQUESTED: frozenset({LeaseState.PROVISIONING, LeaseState.ENDING}),
        LeaseState.PROVISIONING: frozenset({LeaseState.ACTIVE, LeaseState.ENDING}),
        LeaseState.ACTIVE: frozenset({LeaseState.PAUSED, LeaseState.ENDING}),
        LeaseState.PAUSED: frozenset({LeaseState.ACTIVE, LeaseState.ENDING}),
        LeaseState.ENDING: TERMINAL,
        LeaseState.ENDED: frozenset(),
        LeaseState.FAILED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class Teardown:
    """A signed statement that a lease is gone; `ended_at` in Unix seconds, signature in hex."""

    container: str
    ended_at: float
    checks: tuple[str, ...]
    hotkey: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One lease as its ledger knows it.

    Attributes:
        owner: hotkey (ss58) that asked for it; for a challenge the validator's.
        managers: other hotkeys that may operate on it with proof of possession.
        requirement: as granted.
        assignment: the hardware it holds until it is terminal.
        deadline: when it ends, on both clocks.
        image: engine id of the image it runs.
        container: engine id; empty until created.
        renter_public_key: PEM that credentials are sealed to; empty for challenges.
        ssh_public_key: line that may log in; empty for challenges.
        idempotency_key: the owner's name for the request; empty for challenges.
        request_sha256: digest of the request, to tell a repeat from a reuse of the key.
        credentials: sealed envelope; empty until active.
        nonce: largest that an operation has used.
        reason: why it ends; set from ENDING on.
        error: slug of the error that made it fail.
    """

    id: str
    kind: LeaseKind
    state: LeaseState = LeaseState.REQUESTED
    owner: str
    managers: tuple[str, ...] = ()
    requirement: Requirement
    assignment: Assignment
    created_at: float
    deadline: Deadline
    trace: str = ""
    image: str = ""
    container: str = ""
    renter_public_key: str = ""
    ssh_public_key: str = ""
    idempotency_key: str = ""
    request_sha256: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    idle_stop_s: int = 0
    credentials: str = field(default="", repr=False)
    nonce: int = 0
    ready_at: float | None = None
    ended_at: float | None = None
    reason: EndReason | None = None
    error: str = ""
    detail: str = ""
    teardown: Teardown | None = None

    @property
    def expires_at(self) -> float:
        """Unix seconds of its deadline, as its owner was told."""
        return self.deadline.wall

    @property
    def live(self) -> bool:
        """Whether it holds hardware."""
        return self.state in LIVE

    def due(self, now: Instant) -> bool:
        """Whether it has to be brought to its end now."""
        return self.live and self.state is not LeaseState.ENDING and self.deadline.due(now)

    def may(self, hotkey: str) -> bool:
        """Whether a hotkey may operate on it, possession of its key provided."""
        return hotkey == self.owner or hotkey in self.managers


@dataclass(frozen=True, slots=True)
class Warm:
    """A container that waits for its renter: made, never used, under the id of a lease to come.

    Attributes:
        id: the lease that it may become.
        container: engine id; empty until created.
    """

    id: str
    requirement: Requirement
    assignment: Assignment
    container: str = ""


def _move(lease: Lease, to: LeaseState, **changes: Any) -> Lease:
    if to not in FOLLOWERS[lease.state]:
        raise LeaseError(
            Code.LEASE_STATE, f"it is {lease.state.value}, and cannot become {to.value}"
        )
    return replace(lease, state=to, **changes)


def provision(lease: Lease) -> Lease:
    """Work on the engine begins."""
    return _move(lease, LeaseState.PROVISIONING)


def created(lease: Lease, container: str) -> Lease:
    """The engine has made the container; the state stays."""
    return replace(lease, container=container)


def activate(lease: Lease, now: Instant, credentials: str = "") -> Lease:
    """The container is ready for its user."""
    return _move(lease, LeaseState.ACTIVE, ready_at=now.wall, credentials=credentials)


def pause(lease: Lease) -> Lease:
    """Its processes stand still; its time runs on."""
    return _move(lease, LeaseState.PAUSED)


def unpause(lease: Lease) -> Lease:
    """Its processes run again."""
    return _move(lease, LeaseState.ACTIVE)


def extend(lease: Lease, seconds: float, longest_s: float) -> Lease:
    """Move the deadline.

    Raises:
        LeaseError: `LEASE_STATE` unless it is active or paused; `TOO_LONG` when the whole lease
            would be longer than `longest_s`.
    """
    if lease.state not in {LeaseState.ACTIVE, LeaseState.PAUSED}:
        raise LeaseError(Code.LEASE_STATE, f"it is {lease.state.value}, and cannot be extended")
    deadline = lease.deadline.extended(seconds)
    if deadline.wall - lease.created_at > longest_s:
        raise LeaseError(Code.TOO_LONG, f"at most {longest_s:.0f} s in all")
    return replace(lease, deadline=deadline)


def anchor(lease: Lease, now: Instant) -> Lease:
    """After a reboot, count its time on this boot's clock, at most its whole length; same state."""
    length_s = lease.deadline.wall - lease.created_at
    return replace(lease, deadline=lease.deadline.anchored(now, length_s))


def with_key(lease: Lease, ssh_public_key: str) -> Lease:
    """Another key may log in; the state stays."""
    return replace(lease, ssh_public_key=ssh_public_key)


def begin_end(lease: Lease, reason: EndReason, detail: str = "", error: str = "") -> Lease:
    """Its end begins; the hardware stays taken until `finish`.

    Raises:
        LeaseError: `LEASE_STATE` when it is ending already or over.
    """
    return _move(lease, LeaseState.ENDING, reason=reason, detail=detail[:500], error=error)


def finish(lease: Lease, now: Instant, teardown: Teardown | None = None) -> Lease:
    """Nothing of it is left on the engine; its hardware is free."""
    over = LeaseState.FAILED if lease.reason in FAILURES else LeaseState.ENDED
    return _move(lease, over, ended_at=now.wall, teardown=teardown)
