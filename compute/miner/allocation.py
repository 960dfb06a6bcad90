"""Requests for leases: asked once or fifty times, each makes one lease or says why not."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from compute.domain.capacity import Assignment, Obstacles, Wish, place
from compute.domain.lease import TEST_KINDS, Lease, LeaseKind, LeaseState, Warm
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline
from compute.errors import Code, LeaseError
from compute.miner import requests
from compute.miner.images import ImageDesk
from compute.miner.manager import LeaseManager
from compute.miner.teardown import error_of
from compute.protocol.context import RequestContext
from compute.protocol.synapses import AllocateReply, AllocateRequest

DRAINING_S = 300.0  # a renter who is turned away may ask again after so long


class Allocator:
    """Answers `Allocate`.

    Args:
        manager: makes the leases.
        images: has renters' images.
    """

    def __init__(self, manager: LeaseManager, images: ImageDesk) -> None:
        self._manager = manager
        self._images = images
        self._host = manager.host

    def handle(self, request: AllocateRequest, context: RequestContext) -> AllocateReply:
        """Answer with the lease, or with whether it could be had.

        Raises:
            LeaseError: what is wrong with the request, or `NO_CAPACITY`.
            EngineError: what the engine refused; nothing is left of the lease then.
        """
        wish = requests.wish(self._host.settings, self._host.disks.enforcement, request)
        if request.checking:
            return self._check(request, wish, context)
        lease = self._host.ledger.find(context.hotkey, request.idempotency_key)
        new, warm = False, None
        if lease is None:
            image = self._images.resolve(request, context)
            lease, new, warm = self._admit(request, wish, context, image)
        if new:
            return _reply(self._manager.make(lease, warm))
        if lease.request_sha256 != requests.digest(request):
            raise LeaseError(Code.IDEMPOTENCY)
        return _reply(self._made(lease))

    def _admit(
        self, request: AllocateRequest, wish: Wish, context: RequestContext, image: str
    ) -> tuple[Lease, bool, Warm | None]:
        try:
            return self._admit_once(request, wish, context, image)
        except LeaseError as refusal:
            # Warm containers give way to whatever cannot be placed beside them.
            if refusal.code is not Code.NO_CAPACITY or not self._manager.pool.drain():
                raise
        return self._admit_once(request, wish, context, image)

    def _admit_once(
        self, request: AllocateRequest, wish: Wish, context: RequestContext, image: str
    ) -> tuple[Lease, bool, Warm | None]:
        pool = self._manager.pool
        obstacles = self._manager.obstacles()
        warm = pool.take(request, wish)
        new = False

        def draft(held: Sequence[Assignment]) -> Lease:
            self._refuse_when_draining(request.kind)
            share = self._place(wish, warm, held, obstacles)
            return replace(
                self._draft(request, context, wish.requirement, share),
                id=warm.id if warm else secrets.token_hex(16),
                image=image,
            )

        claim = warm.id if warm else ""
        try:
            lease, new = self._manager.admit(context.hotkey, draft, request.idempotency_key, claim)
        finally:
            if warm is not None:
                (pool.claimed if new else pool.give_back)(warm)
        return lease, new, warm

    def _draft(
        self,
        request: AllocateRequest,
        context: RequestContext,
        requirement: Requirement,
        share: Assignment,
    ) -> Lease:
        now = self._host.clock.now()
        return Lease(
            id="",
            kind=request.kind,
            owner=context.hotkey,
            managers=request.managers,
            requirement=requirement,
            assignment=share,
            created_at=now.wall,
            deadline=Deadline.at(now, request.duration_s),
            trace=context.trace,
            renter_public_key=request.renter_public_key,
            ssh_public_key=request.ssh_public_key,
            idempotency_key=request.idempotency_key,
            request_sha256=requests.digest(request),
            environment=request.environment,
            idle_stop_s=request.idle_stop_s,
        )

    def _place(
        self, wish: Wish, warm: Warm | None, held: Sequence[Assignment], obstacles: Obstacles
    ) -> Assignment:
        if warm is None:
            return place(self._host.supply, held, wish, obstacles)
        # GPUs and ports are the container's for good; the rest is adjusted.
        there = Wish(wish.requirement, gpus=warm.assignment.gpus)
        share = place(self._host.supply, held, there, obstacles)
        return share.model_copy(update={"ports": warm.assignment.ports})

    def _check(
        self, request: AllocateRequest, wish: Wish, context: RequestContext
    ) -> AllocateReply:
        try:
            self._refuse_when_draining(request.kind)
            self._manager.refuse_excess(context.hotkey, request.kind)
            place(self._host.supply, self._host.ledger.held(), wish, self._manager.obstacles())
        except LeaseError as refusal:
            if refusal.code not in {Code.NO_CAPACITY, Code.BUSY}:
                raise
            return AllocateReply(available=False, requirement=wish.requirement)
        return AllocateReply(available=True, requirement=wish.requirement)

    def _made(self, lease: Lease) -> Lease:
        """The lease that an earlier request made, or is making right now."""
        self._manager.wait_made(lease.id)
        lease = self._host.ledger.get(lease.id)
        if lease.state is LeaseState.FAILED or (lease.error and not lease.credentials):
            raise error_of(lease)
        if not lease.credentials:
            raise LeaseError(Code.BUSY, "the lease is still being made", retry_after_s=2)
        return lease

    def _refuse_when_draining(self, kind: LeaseKind) -> None:
        if kind not in TEST_KINDS and self._manager.drain.since is not None:
            raise LeaseError(Code.BUSY, "the miner is draining", retry_after_s=DRAINING_S)


def _reply(lease: Lease) -> AllocateReply:
    return AllocateReply(
        available=True,
        lease_id=lease.id,
        state=lease.state,
        expires_at=lease.expires_at,
        credentials=lease.credentials,
        requirement=lease.requirement,
        requested_at=lease.created_at,
        ready_at=lease.ready_at or 0,
    )
