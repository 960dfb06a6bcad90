"""Containers that wait for their renters: made ahead, keyed when leased, never used twice.

A warm container is an ordinary lease's container under the id of a lease to come, frozen while its
entry point waits for keys. It holds hardware in the ledger like a lease, but gives way to whatever
cannot be placed otherwise. Its TTL is on its name, so that the guard ends it if the miner dies.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from compute.domain.capacity import Assignment, Wish, place
from compute.domain.container import SSH_PORT, ContainerSpec, build
from compute.domain.lease import Lease, LeaseKind, Warm
from compute.domain.timeline import Deadline, Instant
from compute.errors import Code, ComputeError, EngineError
from compute.miner.blocked import BlockedPorts
from compute.miner.host import Host
from compute.miner.network import LeaseNetwork
from compute.miner.requests import disk_of
from compute.miner.teardown import Undertaker
from compute.protocol.synapses import AllocateRequest, DiskEnforcement
from compute.telemetry.logs import get

_log = get("miner.warm")


@dataclass(frozen=True, slots=True)
class Ready:
    """A warm container and until when it is kept."""

    warm: Warm
    until: Deadline


class WarmPool:
    """Keeps as many containers ready as the settings say. Safe to use from any thread."""

    def __init__(
        self, host: Host, network: LeaseNetwork, blocked: BlockedPorts, undertaker: Undertaker
    ) -> None:
        self._host = host
        self._network = network
        self._blocked = blocked
        self._undertaker = undertaker
        self._settings = host.settings.warm
        self._lock = threading.Lock()
        self._filling = threading.Lock()
        self._ready: list[Ready] = []
        self._taken: set[str] = set()
        self._open = False

    def __len__(self) -> int:
        """How many are ready."""
        with self._lock:
            return len(self._ready)

    def open(self) -> None:
        """Begin with an empty pool: what an earlier process kept is not trusted."""
        for warm in self._host.ledger.warm():
            self._remove(warm)
        self._open = True

    def close(self) -> None:
        """Remove every container, and make no more."""
        self._open = False
        with self._filling:
            self.drain()

    def drain(self) -> bool:
        """Remove what is ready, because its hardware is needed; tells whether there was any."""
        with self._lock:
            ready, self._ready = self._ready, []
        for one in ready:
            self._remove(one.warm)
        return bool(ready)

    def take(self, request: AllocateRequest, wish: Wish) -> Warm | None:
        """A container that fits a request as far as it cannot be adjusted; the caller has it."""
        plain = not (request.ports or request.environment or request.image or request.dockerfile)
        if wish.test or not plain:
            return None
        with self._lock:
            for index, one in enumerate(self._ready):
                if self._fits(one.warm, wish):
                    self._taken.add(one.warm.id)
                    return self._ready.pop(index).warm
        return None

    def claimed(self, warm: Warm) -> None:
        """It is a lease now."""
        with self._lock:
            self._taken.discard(warm.id)

    def give_back(self, warm: Warm) -> None:
        """The caller did not use it after all."""
        with self._lock:
            self._taken.discard(warm.id)
            self._ready.append(Ready(warm, self._until(self._host.clock.now())))

    def refill(self) -> None:
        """Replace what is too old, and make one container if any is missing; for a sweep."""
        if not self._open or not self._filling.acquire(blocking=False):
            return
        try:
            self._drop_old()
            with self._lock:
                missing = len(self._ready) < self._settings.size
            if missing and self._open:
                self._make()
        except ComputeError as failure:
            _log.debug("no warm container now", why=str(failure))
        finally:
            self._filling.release()

    def _fits(self, warm: Warm, wish: Wish) -> bool:
        have, want = warm.requirement, wish.requirement
        gpus = [gpu for gpu in self._host.supply.gpus if gpu.uuid in warm.assignment.gpus]
        return (
            have.gpus == want.gpus
            and have.shm_mib == want.shm_mib
            and have.disk_mib == want.disk_mib
            and all(want.gpu_model.casefold() in gpu.model.casefold() for gpu in gpus)
            and all(gpu.memory_mib >= want.gpu_memory_mib for gpu in gpus)
        )

    def _until(self, now: Instant) -> Deadline:
        return Deadline.at(now, self._settings.ttl_s)

    def _drop_old(self) -> None:
        now = self._host.clock.now()
        rows = self._host.ledger.warm()
        with self._lock:
            self._ready = [one for one in self._ready if not one.until.due(now)]
            kept = {one.warm.id for one in self._ready} | self._taken
        for warm in rows:
            if warm.id not in kept:
                self._remove(warm)

    def _make(self) -> None:
        until = self._until(self._host.clock.now())
        warm = self._host.ledger.reserve(self._draft)
        try:
            warm = self._run(warm, until)
        except EngineError as failure:
            if failure.code is Code.PORT_TAKEN:
                self._blocked.add(port.host for port in warm.assignment.ports)
            self._remove(warm)
            raise
        with self._lock:
            self._ready.append(Ready(warm, until))

    def _draft(self, held: Sequence[Assignment]) -> Warm:
        disk = disk_of(self._host.settings, self._host.disks.enforcement, self._settings.shape)
        shape = self._settings.shape.model_copy(update={"disk_mib": disk})
        wish = Wish(shape, ports=(SSH_PORT,))
        share = place(self._host.supply, held, wish, self._blocked.obstacles())
        return Warm(secrets.token_hex(16), shape, share)

    def _run(self, warm: Warm, until: Deadline) -> Warm:
        engine = self._host.engine
        self._network.ensure()
        warm = replace(warm, container=engine.create(self._spec(warm, until)))
        if self._host.disks.enforcement is DiskEnforcement.VOLUME:
            layer = engine.layer(warm.container)
            self._host.disks.attach(warm.id, warm.assignment.disk_mib, layer)
        engine.start(warm.container)
        self._network.started(warm.container)
        engine.pause(warm.container)
        return warm

    def _spec(self, warm: Warm, until: Deadline) -> ContainerSpec:
        return build(self._as_lease(warm, until), self._host.surroundings)

    def _as_lease(self, warm: Warm, until: Deadline) -> Lease:
        return Lease(
            id=warm.id,
            kind=LeaseKind.RENTAL,
            owner="",
            requirement=warm.requirement,
            assignment=warm.assignment,
            created_at=until.wall,
            deadline=until.extended(self._settings.ttl_s),
            image=self._host.image,
        )

    def _remove(self, warm: Warm) -> None:
        try:
            self._undertaker.remove_of(warm.id)
            self._host.ledger.cool(warm.id)
        except EngineError as failure:
            # Its row stays, and with it its hardware, until a later sweep succeeds.
            _log.warning("a warm container stays for now", lease=warm.id, why=str(failure))
