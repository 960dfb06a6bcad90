"""The life of leases on one host: made once, operated by their owners, ended on time.

The ledger is the truth. Every change is written there before the engine is touched; whatever a
crash leaves half done is found by `reconcile`, at the start and as a sweep.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from compute.domain.capacity import Assignment, free, place
from compute.domain.lease import TEST_KINDS, EndReason, Lease, LeaseKind, LeaseState
from compute.domain.requirement import Capacity
from compute.domain.timeline import Deadline
from compute.errors import Code, ComputeError, EngineError, LeaseError
from compute.miner import requests
from compute.miner.blocked import BlockedPorts
from compute.miner.draining import Drain
from compute.miner.host import Host
from compute.miner.locks import LeaseLocks
from compute.miner.network import LeaseNetwork
from compute.miner.provision import Provisioner
from compute.miner.supply import unfit_gpus
from compute.miner.teardown import Undertaker, error_of
from compute.miner.workers import Workers
from compute.protocol.context import RequestContext
from compute.protocol.synapses import AllocateReply, AllocateRequest
from compute.telemetry.logs import get

ENDERS = 8  # leases brought to their end at the same time
DRAINING_S = 300.0  # a renter who is turned away may ask again after so long
MAKING_S = 55.0  # a repeated request waits so long for the first one: less than a dendrite does
_log = get("miner.leases")


class LeaseManager:
    """Makes and ends leases. Every method may be called from any thread.

    Args:
        host: where.
        advertised: address that renters dial.
    """

    def __init__(self, host: Host, advertised: str) -> None:
        self.host = host
        self.locks = LeaseLocks()
        self.blocked = BlockedPorts()
        self.drain = Drain(host.settings.state)
        self.network = LeaseNetwork(host)
        self.provisioner = Provisioner(host, self.network, self.blocked, advertised)
        self.undertaker = Undertaker(host)
        self.on_end: Callable[[str], None] = lambda _: None
        self.on_deadline: Callable[[Lease], None] = lambda _: None
        self._workers = threading.BoundedSemaphore(host.settings.workers)
        self._enders = Workers(ENDERS, "lease-end")
        self._making: dict[str, threading.Event] = {}
        self._ending: set[str] = set()
        self._state = threading.Lock()
        self._closing = False

    # --- making --------------------------------------------------------------------------------

    def allocate(self, request: AllocateRequest, context: RequestContext) -> AllocateReply:
        """Answer a request for a lease: with the lease, or with whether it could be had.

        Raises:
            LeaseError: what is wrong with the request, or `NO_CAPACITY`.
            EngineError: what the engine refused; nothing is left of the lease then.
        """
        wish = requests.wish(self.host.settings, self.host.disks.enforcement, request)
        if request.checking:
            return self._check(request)
        digest = requests.digest(request)
        obstacles = self.blocked.obstacles(self.unfit_gpus())

        def draft(held: Sequence[Assignment]) -> Lease:
            self._refuse_when_draining(request.kind)
            share = place(self.host.supply, held, wish, obstacles)
            now = self.host.clock.now()
            return self._announce(
                Lease(
                    id=secrets.token_hex(16),
                    kind=request.kind,
                    owner=context.hotkey,
                    managers=request.managers,
                    requirement=wish.requirement,
                    assignment=share,
                    created_at=now.wall,
                    deadline=Deadline.at(now, request.duration_s),
                    trace=context.trace,
                    image=self.host.image,
                    renter_public_key=request.renter_public_key,
                    ssh_public_key=request.ssh_public_key,
                    idempotency_key=request.idempotency_key,
                    request_sha256=digest,
                    environment=request.environment,
                    idle_stop_s=request.idle_stop_s,
                )
            )

        self._refuse_when_closing()
        lease, new = self.host.ledger.admit(context.hotkey, request.idempotency_key, draft)
        if new:
            return _reply(self.make(lease))
        if lease.request_sha256 != digest:
            raise LeaseError(Code.IDEMPOTENCY)
        return _reply(self._made(lease))

    def admit(self, owner: str, draft: Callable[[Sequence[Assignment]], Lease]) -> Lease:
        """Write a lease that is no request's, such as a challenge's; `made` is to be called."""
        self._refuse_when_closing()
        return self.host.ledger.admit(owner, "", lambda held: self._announce(draft(held)))[0]

    def make(self, lease: Lease) -> Lease:
        """Provision an admitted lease; on failure nothing of it is left."""
        with self.making(lease):
            made = self.provisioner.provision(lease)
        self.on_deadline(made)
        _log.info("lease ready", lease=lease.id, kind=str(lease.kind), trace=lease.trace)
        return made

    @contextmanager
    def making(self, lease: Lease) -> Iterator[None]:
        """Hold an admitted lease while it is made; if that fails, take it down and raise."""
        try:
            with self.locks.hold(lease.id):
                try:
                    with self._worker():
                        yield
                except ComputeError as failure:
                    self._fail(lease, failure)
                    raise
                except BaseException:
                    self._fail(lease, ComputeError(Code.INTERNAL, "an unforeseen failure"))
                    raise
        finally:
            self._announced(lease.id)

    @contextmanager
    def _worker(self) -> Iterator[None]:
        if not self._workers.acquire(timeout=MAKING_S):
            raise LeaseError(Code.BUSY, "too many leases are being made", retry_after_s=5)
        try:
            yield
        finally:
            self._workers.release()

    def _fail(self, lease: Lease, failure: ComputeError) -> None:
        _log.warning("lease failed", lease=lease.id, code=failure.code.spec.slug, why=str(failure))
        try:
            self.undertaker.end(
                lease.id, EndReason.FAULT, failure.detail or str(failure), failure.code.spec.slug
            )
        except ComputeError as again:
            _log.warning("clean-up is delayed", lease=lease.id, why=str(again))

    def _announce(self, lease: Lease) -> Lease:
        """Let a repeat of the request, which may come at once, wait for the first."""
        with self._state:
            self._making[lease.id] = threading.Event()
        return lease

    def _announced(self, lease_id: str) -> None:
        with self._state:
            event = self._making.pop(lease_id, None)
        if event is not None:
            event.set()

    def _made(self, lease: Lease) -> Lease:
        with self._state:
            event = self._making.get(lease.id)
        if event is not None and not event.wait(MAKING_S):
            raise LeaseError(Code.BUSY, "the lease is still being made", retry_after_s=2)
        lease = self.host.ledger.get(lease.id)
        if lease.state is LeaseState.FAILED or (lease.error and not lease.credentials):
            raise error_of(lease)
        if not lease.credentials:
            raise LeaseError(Code.BUSY, "the lease is still being made", retry_after_s=2)
        return lease

    def _check(self, request: AllocateRequest) -> AllocateReply:
        wish = requests.wish(self.host.settings, self.host.disks.enforcement, request)
        obstacles = self.blocked.obstacles(self.unfit_gpus())
        try:
            self._refuse_when_draining(request.kind)
            place(self.host.supply, self.host.ledger.held(), wish, obstacles)
        except LeaseError as refusal:
            if refusal.code not in {Code.NO_CAPACITY, Code.BUSY}:
                raise
            return AllocateReply(available=False, requirement=wish.requirement)
        return AllocateReply(available=True, requirement=wish.requirement)

    def unfit_gpus(self) -> dict[str, str]:
        """GPUs that must not be given out now, with the reason."""
        if not self.host.supply.gpus:
            return {}
        leased = {uuid for one in self.host.ledger.held() for uuid in one.gpus}
        return unfit_gpus(self.host.hardware.gpu_health(), frozenset(leased))

    def free(self) -> Capacity:
        """What can be leased now."""
        obstacles = self.blocked.obstacles(self.unfit_gpus())
        left = free(self.host.supply, self.host.ledger.held(), obstacles)
        return left if self.drain.since is None else left.model_copy(update={"leases": 0})

    # --- ending --------------------------------------------------------------------------------

    def end(self, lease_id: str, reason: EndReason, detail: str = "", error: str = "") -> Lease:
        """Bring a lease to its end, now; returns when nothing of it is left.

        Raises:
            EngineError: the engine could not confirm it; the sweep tries again.
        """
        with self.locks.hold(lease_id):
            return self._end(lease_id, reason, detail, error)

    def end_soon(
        self,
        lease_id: str,
        reason: EndReason,
        detail: str = "",
        error: str = "",
        *,
        wait: bool = False,
    ) -> None:
        """The same, by a worker thread.

        Unless told to wait, it does nothing when the lease is in somebody's hands: the sweep, which
        comes back anyway, must not use up the threads.
        """
        with self._state:
            if self._closing or lease_id in self._ending:
                return
            self._ending.add(lease_id)
        self._enders.submit(
            lambda: self._end_quietly(
                lease_id, lambda: self._end(lease_id, reason, detail, error), wait=wait
            )
        )

    def _end_quietly(self, lease_id: str, end: Callable[[], Lease], *, wait: bool) -> None:
        try:
            with self.locks.hold(lease_id, wait=wait) as held:
                if held:
                    end()
        except EngineError as failure:
            _log.warning("the end is delayed", lease=lease_id, why=str(failure))
        except ComputeError as failure:
            _log.error("a lease could not be ended", lease=lease_id, why=str(failure))
        except Exception:  # noqa: BLE001 - a task's root: the sweep tries again
            _log.exception("a lease could not be ended", lease=lease_id)
        finally:
            with self._state:
                self._ending.discard(lease_id)

    def _end(self, lease_id: str, reason: EndReason, detail: str, error: str) -> Lease:
        self.on_end(lease_id)
        return self.undertaker.end(lease_id, reason, detail, error)

    def ring(self, lease_id: str) -> None:
        """An alarm went off: end the lease if it is due by the truth, not by the alarm."""
        lease = self.host.ledger.get(lease_id)
        if lease.due(self.host.clock.now()):
            self.end_soon(lease_id, EndReason.DEADLINE)

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is being made or ended; False when that took too long."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            with self._state:
                if not self._making and not self._ending:
                    return True
            time.sleep(0.002)
        return False

    def in_hands(self, lease_id: str) -> bool:
        """Whether a thread is making or ending it right now."""
        with self._state:
            return lease_id in self._making or lease_id in self._ending

    def close(self, grace_s: float) -> None:
        """Take no new work, and wait for what is under way."""
        with self._state:
            self._closing = True
        if not self.settle(grace_s):
            _log.warning("something is left half done for the next start")

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise LeaseError(Code.BUSY, "the miner is stopping", retry_after_s=30)

    def _refuse_when_draining(self, kind: LeaseKind) -> None:
        if kind not in TEST_KINDS and self.drain.since is not None:
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


def is_session(lease: Lease) -> bool:
    """Whether a lease cannot outlive the process that made it."""
    return lease.kind is LeaseKind.CHALLENGE
