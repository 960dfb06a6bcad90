"""What the roles ask of a ledger of leases. Implemented over SQL in `compute.storage.ledger`."""

from collections.abc import Callable, Sequence
from typing import Protocol

from compute.domain.capacity import Assignment
from compute.domain.lease import Lease, Warm
from compute.domain.timeline import Event, Moment

Draft = Callable[[Sequence[Assignment]], Lease]
Change = Callable[[Lease], Lease]
Replacement = Callable[[Lease, Sequence[Assignment]], Lease]


class Ledger(Protocol):
    """The one memory of who holds what. Every method may be called from any thread.

    Methods raise `ComputeError` with `STORAGE_FAILED` when the database cannot be used.
    """

    @property
    def owner(self) -> str:
        """Random id of this ledger, made with it; labels its objects on the engine."""
        ...

    def admit(
        self, owner: str, idempotency_key: str, draft: Draft, claim: str = ""
    ) -> tuple[Lease, bool]:
        """Write a new lease, unless its owner has one under this key already.

        `draft` is called with what every live lease and every warm container holds, and makes the
        lease or raises; no other admission happens in between, so that nothing is ever given out
        twice. An empty key matches none.

        Args:
            owner: of the lease.
            idempotency_key: its name for the request.
            draft: makes the lease.
            claim: id of a warm container that the lease takes over; what it holds is not among
                what `draft` sees.

        Returns:
            The lease, and whether it is new.

        Raises:
            LeaseError: `NO_CAPACITY` when the warm container is not there any more; what `draft`
                raises.
        """
        ...

    def find(self, owner: str, idempotency_key: str) -> Lease | None:
        """The lease that an owner has under a key; None when there is none."""
        ...

    def reserve(self, draft: Callable[[Sequence[Assignment]], Warm]) -> Warm:
        """Write a warm container, placed by `draft` as in `admit`, before it is made."""
        ...

    def warm(self) -> tuple[Warm, ...]:
        """The warm containers."""
        ...

    def cool(self, warm_id: str) -> None:
        """Forget a warm container; missing is no error."""
        ...

    def change(self, lease_id: str, change: Change, event: Event, detail: str = "") -> Lease:
        """Apply a pure transition to the lease as it is now, and note it in its timeline.

        Raises:
            LeaseError: `LEASE_UNKNOWN`, or what `change` raises (nothing is written then).
        """
        ...

    def replace(self, lease_id: str, change: Replacement, event: Event, detail: str = "") -> Lease:
        """Like `change`, with what all other live leases hold, so that hardware can be moved."""
        ...

    def note(self, lease_id: str, event: Event, detail: str = "") -> None:
        """Add a line to a lease's timeline."""
        ...

    def accept_nonce(self, lease_id: str, nonce: int) -> None:
        """Remember a nonce.

        Raises:
            LeaseError: `POSSESSION` unless it is larger than every one before.
        """
        ...

    def get(self, lease_id: str) -> Lease:
        """One lease.

        Raises:
            LeaseError: `LEASE_UNKNOWN`.
        """
        ...

    def live(self) -> tuple[Lease, ...]:
        """Every lease that holds hardware, oldest first."""
        ...

    def held(self) -> tuple[Assignment, ...]:
        """What they hold; warm containers give way, and are not counted."""
        ...

    def recent(self, limit: int) -> tuple[Lease, ...]:
        """The newest leases in any state, newest first."""
        ...

    def timeline(self, lease_id: str) -> tuple[Moment, ...]:
        """A lease's timeline, oldest first; at most the last 512 lines."""
        ...

    def forget(self, before: float) -> int:
        """Delete terminal leases that ended before (Unix seconds); answers how many."""
        ...
