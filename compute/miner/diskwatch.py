"""Leases held to their disk sizes by looking, on hosts where nothing else can hold them.

A lease that has written more than it was promised is ended, and its owner is told how much. Between
two looks it can write what it likes: this keeps promises to the others, and is no hard limit.
"""

from compute.domain.lease import EndReason, Lease, LeaseState
from compute.errors import Code, EngineError
from compute.miner.manager import LeaseManager
from compute.protocol.synapses import DiskEnforcement
from compute.telemetry.logs import get

_WATCHED = frozenset({LeaseState.ACTIVE, LeaseState.PAUSED})
_log = get("miner.diskwatch")


class DiskWatch:
    """Looks at what leases have written. Not in the sweep's thread: a look may take a minute."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self._host = manager.host

    @property
    def needed(self) -> bool:
        """Whether sizes are held by looking here."""
        return self._host.disks.enforcement is DiskEnforcement.WATCH

    def look(self) -> None:
        """Begin the end of every lease that is over its size.

        Raises:
            EngineError: `ENGINE_AWAY`.
        """
        for lease in self._host.ledger.live():
            if lease.state in _WATCHED and lease.assignment.disk_mib:
                self._look_at(lease)

    def _look_at(self, lease: Lease) -> None:
        try:
            used_mib = self._host.disks.used_mib(self._host.engine.layer(lease.container))
        except EngineError as failure:
            if failure.code is Code.ENGINE_AWAY:
                raise
            _log.warning("a lease's disk cannot be measured", lease=lease.id, why=str(failure))
            return
        most_mib = lease.assignment.disk_mib
        if used_mib is not None and used_mib > most_mib:
            _log.warning("a lease is over its disk size", lease=lease.id, used_mib=used_mib)
            self._manager.end_soon(
                lease.id,
                EndReason.EVICTED,
                f"it wrote {used_mib} MiB to its disk of {most_mib} MiB",
                Code.DISK_FULL.spec.slug,
            )
