"""The life of leases on one host: made once, operated by their owners, ended on time.

The ledger is the truth. Every change is written there before the engine is touched; whatever a
crash leaves half done is found by `reconcile`, at the start and as a sweep.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from compute.domain.capacity import Assignment, Obstacles, free
from compute.domain.lease import TEST_KINDS, EndReason, Lease, LeaseKind, LeaseState, Warm
from compute.domain.requirement import Capacity
from compute.errors import Code, ComputeError, EngineError, LeaseError
from compute.miner.blocked import BlockedPorts
from compute.miner.draining import Drain
from compute.miner.host import Host
from compute.miner.locks import LeaseLocks
from compute.miner.network import LeaseNetwork
from compute.miner.provision import Provisioner
from compute.miner.supply import unfit_gpus
from compute.miner.teardown import Undertaker
from compute.miner.warm import WarmPool
from compute.miner.workers import Workers
from compute.telemetry.logs import get

ENDERS = 8  # leases brought to their end at the same time
MAKING_S = 55.0  # a repeated request waits so long for the first one: less than a dendrite does
SHARE_S = 30.0  # a hotkey that has its share may ask again after so long
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
        self.pool = WarmPool(host, self.network, self.blocked, self.undertaker)
        self.on_end: Callable[[str], None] = lambda _: None
        self.on_deadline: Callable[[Lease], None] = lambda _: None
        self._workers = threading.BoundedSemaphore(host.settings.workers)
        self._enders = Workers(ENDERS, "lease-end")
        self._making: dict[str, threading.Event] = {}
        self._ending: set[str] = set()
        self._state = threading.Lock()
        self._admission = threading.Lock()
        self._closing = False

    # --- making --------------------------------------------------------------------------------

    def admit(
        self,
        owner: str,
        draft: Callable[[Sequence[Assignment]], Lease],
        idempotency_key: str = "",
        claim: str = "",
    ) -> tuple[Lease, bool]:
        """Write a lease as `Ledger.admit` does; whoever gets a new one has to `make` it.

        Raises:
            LeaseError: `BUSY` while the miner stops, or when the owner has its share already; and
                what `draft` raises.
        """
        if self._closing:
            raise LeaseError(Code.BUSY, "the miner is stopping", retry_after_s=30)
        announced: list[str] = []

        def announce(held: Sequence[Assignment]) -> Lease:
            # A repeat of the request may come at once: it has to find that this one is being made.
            lease = draft(held)
            self._refuse_excess(lease.kind, owned)
            announced.append(lease.id)
            with self._state:
                self._making[lease.id] = threading.Event()
            return lease

        try:
            with self._admission:
                owned = self._owned(owner)
                return self.host.ledger.admit(owner, idempotency_key, announce, claim)
        except BaseException:
            for lease_id in announced:
                self._announced(lease_id)
            raise

    def refuse_excess(self, owner: str, kind: LeaseKind) -> None:
        """One hotkey must not take what others need too.

        Raises:
            LeaseError: `BUSY` when it has its share of this kind.
        """
        self._refuse_excess(kind, self._owned(owner))

    def _owned(self, owner: str) -> Counter[LeaseKind]:
        """How many leases of each kind a hotkey has; those on their way out do not count."""
        return Counter(
            lease.kind
            for lease in self.host.ledger.live()
            if lease.owner == owner and lease.state is not LeaseState.ENDING
        )

    def _refuse_excess(self, kind: LeaseKind, owned: Counter[LeaseKind]) -> None:
        if kind in TEST_KINDS:
            most = 1  # of each: the test slot is small, and every validator's
        elif kind is LeaseKind.RENTAL:
            most = self.host.settings.most_per_owner
        else:
            return
        if owned[kind] >= most:
            detail = f"{kind.value}s of one hotkey at once: at most {most}"
            raise LeaseError(Code.BUSY, detail, retry_after_s=SHARE_S)

    def make(self, lease: Lease, warm: Warm | None = None) -> Lease:
        """Provision an admitted lease; on failure nothing of it is left."""
        with self.making(lease):
            if warm is None:
                made = self.provisioner.provision(lease)
            else:
                made = self.provisioner.adopt(lease, warm)
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

    def _announced(self, lease_id: str) -> None:
        with self._state:
            event = self._making.pop(lease_id, None)
        if event is not None:
            event.set()

    def wait_made(self, lease_id: str) -> None:
        """Wait while another thread makes a lease.

        Raises:
            LeaseError: `BUSY` when that takes too long.
        """
        with self._state:
            event = self._making.get(lease_id)
        if event is not None and not event.wait(MAKING_S):
            raise LeaseError(Code.BUSY, "the lease is still being made", retry_after_s=2)

    # --- capacity ------------------------------------------------------------------------------

    def obstacles(self) -> Obstacles:
        """What must not be given out now although nobody holds it."""
        return self.blocked.obstacles(self.unfit_gpus())

    def unfit_gpus(self) -> dict[str, str]:
        """GPUs that must not be given out now, with the reason."""
        if not self.host.supply.gpus:
            return {}
        leased = {uuid for one in self.host.ledger.held() for uuid in one.gpus}
        return unfit_gpus(self.host.hardware.gpu_health(), frozenset(leased))

    def free(self) -> Capacity:
        """What can be leased now."""
        left = free(self.host.supply, self.host.ledger.held(), self.obstacles())
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
            if self.calm():
                return True
            time.sleep(0.002)
        return False

    def calm(self) -> bool:
        """Whether nothing is being made or ended right now."""
        with self._state:
            return not self._making and not self._ending

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


def is_session(lease: Lease) -> bool:
    """Whether a lease cannot outlive the process that made it: somebody here waits for it."""
    return lease.kind in {LeaseKind.CHALLENGE, LeaseKind.JOB}
