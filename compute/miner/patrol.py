"""Looks after leases while they run: idle ones, and GPUs that failed under them."""

from collections.abc import Mapping

from compute.domain.idleness import Idleness, Sample, Verdict
from compute.domain.lease import EndReason, Lease, LeaseState
from compute.domain.timeline import Event
from compute.domain.xid import blame
from compute.errors import ComputeError
from compute.miner.manager import LeaseManager
from compute.ports.hardware import GpuHealth
from compute.telemetry.logs import get

_log = get("miner.patrol")


class Patrol:
    """One round at a time, from a sweep."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self._host = manager.host
        self._idle: dict[str, Idleness] = {}
        self._faults: set[tuple[str, str, float]] = set()

    def round(self) -> None:
        """Look at every active lease."""
        active = [lease for lease in self._host.ledger.live() if lease.state is LeaseState.ACTIVE]
        health = self._host.hardware.gpu_health() if self._host.supply.gpus else {}
        known = {lease.id for lease in active}
        self._idle = {key: one for key, one in self._idle.items() if key in known}
        self._faults = {fault for fault in self._faults if fault[0] in known}
        for lease in active:
            try:
                self._check_gpus(lease, health)
                self._check_use(lease, health)
            except ComputeError as failure:
                _log.debug("a lease could not be looked at", lease=lease.id, why=str(failure))

    def _check_gpus(self, lease: Lease, health: Mapping[str, GpuHealth]) -> None:
        for uuid in lease.assignment.gpus:
            state = health.get(uuid)
            if state is None or not state.xid or state.xid_at < lease.created_at:
                continue
            if (lease.id, uuid, state.xid_at) in self._faults:
                continue
            self._faults.add((lease.id, uuid, state.xid_at))
            detail = f"{uuid}: Xid {state.xid}, fault: {blame(state.xid).value}"
            self._host.ledger.note(lease.id, Event.GPU_FAULT, detail)
            _log.warning("a GPU reported an error", lease=lease.id, detail=detail)

    def _check_use(self, lease: Lease, health: Mapping[str, GpuHealth]) -> None:
        if not lease.idle_stop_s:
            return
        sample = self._sample(lease, health)
        before = self._idle.get(lease.id)
        seen = before.seen(sample) if before else Idleness.begin(sample)
        verdict, self._idle[lease.id] = seen.judge(lease.idle_stop_s)
        if verdict is Verdict.WARN:
            left = lease.idle_stop_s - (seen.last.at - seen.since)
            self._host.ledger.note(lease.id, Event.WARNED, f"idle: it ends in {left:.0f} s")
        elif verdict is Verdict.END:
            self._manager.end_soon(lease.id, EndReason.IDLE, f"idle for {lease.idle_stop_s} s")

    def _sample(self, lease: Lease, health: Mapping[str, GpuHealth]) -> Sample:
        view = self._host.engine.inspect(lease.container)
        does = self._host.activity(view.pid if view else 0)
        return Sample(
            at=self._host.clock.now().uptime,
            cpu_s=does.cpu_s,
            sessions=does.sessions,
            gpu_busy=any(
                health[uuid].processes for uuid in lease.assignment.gpus if uuid in health
            ),
        )
