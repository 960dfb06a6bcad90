"""The one noun of the product: a lease, its kinds, its states and what may follow what."""

from enum import StrEnum


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
                          └────────────→ FAILED
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
