"""A rental: a lease that a validator holds for one of its tenants."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from compute.domain.hardware import Count, Name, Value
from compute.domain.requirement import Requirement


class RentalState(StrEnum):
    """Where a rental is.

    ::

        PENDING → ACTIVE ⇄ PAUSED → ENDED
            └───→ FAILED
    """

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


LIVE = frozenset({RentalState.PENDING, RentalState.ACTIVE, RentalState.PAUSED})


class RentalEventKind(StrEnum):
    """What happened to a rental."""

    REQUESTED = "requested"
    TRYING = "trying"
    ACTIVE = "active"
    FAILED = "failed"
    ADOPTED = "adopted"
    EXTENDED = "extended"
    RESTARTED = "restarted"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    KEY_EXCHANGED = "key_exchanged"
    UNREACHABLE = "unreachable"
    REACHABLE = "reachable"
    CREDITED = "credited"
    ENDED = "ended"


class Tenant(Value):
    """Somebody who rents through this validator.

    Attributes:
        most_leases: live rentals at once.
    """

    id: Name
    name: Name
    most_leases: Count
    enabled: bool
    created_ms: Count


class Rental(Value):
    """A rental as its tenant sees it.

    Attributes:
        id: of the rental, here.
        lease: id of the lease on the miner; empty until there is one.
        miner: hotkey (ss58) of the miner; empty until one was chosen.
        validator: hotkey (ss58) that leased; the sealed credentials are bound to both hotkeys.
        credentials: sealed to the tenant's key: nobody here can read them.
        requirement: as granted, or as asked until then.
        expires_ms: the lease's deadline, Unix milliseconds; 0 until there is one.
        credited_ms: time that the miner was unreachable, credited to the tenant.
        detail: why it failed or ended.
    """

    id: Name
    state: RentalState
    miner: Name = ""
    validator: Name = ""
    lease: Name = ""
    requirement: Requirement
    credentials: Annotated[str, Field(max_length=32_768)] = ""
    created_ms: Count
    expires_ms: Count = 0
    ended_ms: Count | None = None
    credited_ms: Count = 0
    detail: Annotated[str, Field(max_length=500)] = ""


class RentalEvent(Value):
    """One line of a tenant's timeline.

    Attributes:
        seq: grows; ask for what came after one.
    """

    seq: Count
    rental: Name
    at_ms: Count
    event: RentalEventKind
    detail: Annotated[str, Field(max_length=500)] = ""


class Webhook(Value):
    """Where a tenant wants to be told.

    Attributes:
        last_status: of the last delivery: an HTTP status or an error, for the tenant to read.
        pending: whether a delivery is being retried.
    """

    id: Name
    url: Annotated[str, Field(max_length=500)]
    enabled: bool
    last_status: Name = ""
    pending: bool = False
