"""The ledger compared with the engine: at the start, and again and again while the miner runs.

- a container of ours without a live lease is removed;
- a lease that is overdue, or was left half made or half ended, is brought to its end;
- a live lease whose container stopped (a reboot, a restarted engine) is started again;
- an operation that was cut short between engine and ledger is settled as the ledger says;
- a live lease without a container has failed, and its owner is told when he asks.

Nothing that does not carry this ledger's own label is ever touched.
"""

from collections import Counter

from compute.domain import lease as life
from compute.domain.container import LEASE, ContainerState, container_name
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState
from compute.domain.timeline import Event
from compute.errors import Code, ComputeError, EngineError
from compute.miner.host import Host
from compute.miner.manager import LeaseManager, is_session
from compute.ports.engine import ContainerView
from compute.telemetry.logs import get

MOST_REVIVALS = 5  # a container that keeps stopping is not started for ever
_STOPPED = frozenset({ContainerState.EXITED, ContainerState.CREATED, ContainerState.DEAD})
_HALF_MADE = frozenset({LeaseState.REQUESTED, LeaseState.PROVISIONING})
_log = get("miner.reconcile")


class Reconciler:
    """Makes the engine agree with the ledger."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self._host: Host = manager.host
        self._revivals: Counter[str] = Counter()

    def at_start(self) -> None:
        """Settle what the last process left: returns when every due end was begun.

        Raises:
            EngineError: `ENGINE_AWAY` when the engine does not answer.
        """
        now = self._host.clock.now()
        for lease in self._host.ledger.live():
            if lease.deadline.boot != now.boot:
                self._host.ledger.change(
                    lease.id, lambda one: life.anchor(one, now), Event.RECONCILED, "after a reboot"
                )
            if lease.state in _HALF_MADE or is_session(lease):
                self._soon(
                    lease, EndReason.FAULT, "the miner restarted meanwhile", Code.ENGINE_FAILED
                )
        self.deadlines()
        self._network()
        self.engine()

    def _network(self) -> None:
        """Leases that live on need their network's filter, which a reboot has removed."""
        if not self._host.ledger.live():
            return
        try:
            self._manager.network.ensure(afresh=True)
        except EngineError as failure:
            if failure.code is Code.ENGINE_AWAY:
                raise
            _log.warning("the leases' network is not filtered yet", why=str(failure))

    def deadlines(self) -> None:
        """End what is due or half ended; cheap enough for every second."""
        now = self._host.clock.now()
        for lease in self._host.ledger.live():
            if self._manager.in_hands(lease.id):
                continue
            if lease.due(now):
                self._soon(lease, EndReason.DEADLINE)
            elif lease.state is LeaseState.ENDING:
                self._soon(lease, lease.reason or EndReason.FAULT)
            elif lease.state in _HALF_MADE:
                self._soon(lease, EndReason.FAULT, "it was never finished", Code.ENGINE_FAILED)

    def engine(self) -> None:
        """Compare both ways."""
        # Containers first: one that is listed had its row before, so that a container whose
        # lease is not live now has been left behind.
        containers = self._host.engine.containers(self._host.ledger.owner)
        disks = self._host.disks.known()
        # A warm container's row is there before it, and becomes a lease's row in one step.
        kept = {warm.id for warm in self._host.ledger.warm()}
        live = {lease.id: lease for lease in self._host.ledger.live()}
        kept |= live.keys()
        for container in containers:
            if container.labels.get(LEASE) not in kept:
                self._remove(container)
        for lease_id in disks:
            if lease_id not in kept:
                self._host.disks.destroy(lease_id)
        by_lease = {container.labels.get(LEASE): container for container in containers}
        for lease in live.values():
            if lease.state in {LeaseState.ACTIVE, LeaseState.PAUSED}:
                self._check(lease, by_lease.get(lease.id))

    def _remove(self, container: ContainerView) -> None:
        try:
            self._manager.undertaker.remove(container, 0)
        except EngineError as failure:
            _log.warning("an orphan stays for now", container=container.name, why=str(failure))
        else:
            _log.warning("removed an orphan", container=container.name)

    def _check(self, lease: Lease, seen: ContainerView | None) -> None:
        if seen is not None and _agrees(lease, seen):
            return
        with self._manager.locks.hold(lease.id, wait=False) as held:
            if not held or self._host.ledger.get(lease.id).state is not lease.state:
                return
            found = self._host.engine.inspect(lease.container)
            if found is None:
                self._lost(lease, "its container is gone")
            elif lease.kind is LeaseKind.JOB:
                return  # it stops by itself, and whoever runs it sees to the rest
            elif found.state in _STOPPED:
                self._revive(lease)
            else:
                self._adjust(lease, found)

    def _adjust(self, lease: Lease, found: ContainerView) -> None:
        """An operation was cut short between engine and ledger: the ledger is right."""
        name = container_name(lease.id, lease.deadline)
        if found.name != name:
            self._host.engine.rename(found.id, name)
        if found.state is ContainerState.PAUSED and lease.state is LeaseState.ACTIVE:
            self._host.engine.unpause(found.id)
        if found.state is ContainerState.RUNNING and lease.state is LeaseState.PAUSED:
            self._host.engine.pause(found.id)

    def _revive(self, lease: Lease) -> None:
        self._revivals[lease.id] += 1
        if is_session(lease) or self._revivals[lease.id] > MOST_REVIVALS:
            self._lost(lease, "its container stopped")
            return
        try:
            self._manager.network.ensure(afresh=True)
            self._manager.provisioner.attach_disk(lease)
            self._host.engine.start(lease.container)
            self._manager.network.started(lease.container)
            if lease.state is LeaseState.PAUSED:
                self._host.engine.pause(lease.container)
        except EngineError as failure:
            if failure.code is Code.ENGINE_AWAY:
                raise
            self._lost(lease, f"it cannot be started again: {failure}")
        else:
            self._host.ledger.note(lease.id, Event.RECONCILED, "its container was started again")
            _log.warning("started a stopped lease again", lease=lease.id)

    def _lost(self, lease: Lease, why: str) -> None:
        """End a lease whose lock this thread holds."""
        self._manager.end(lease.id, EndReason.LOST, why, Code.ENGINE_FAILED.spec.slug)

    def _soon(
        self, lease: Lease, reason: EndReason, detail: str = "", code: Code | None = None
    ) -> None:
        self._manager.end_soon(lease.id, reason, detail, code.spec.slug if code else "")

    def quietly(self) -> None:
        """`engine`, for a sweep: an engine that is away is tried again next time."""
        try:
            self.engine()
            self._manager.network.repair()
        except ComputeError as failure:
            _log.warning("cannot compare with the engine", why=str(failure))


def _agrees(lease: Lease, seen: ContainerView) -> bool:
    paused = lease.state is LeaseState.PAUSED
    state = ContainerState.PAUSED if paused else ContainerState.RUNNING
    return seen.state is state and seen.name == container_name(lease.id, lease.deadline)
