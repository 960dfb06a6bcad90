"""How a lease is held to its disk size. Implemented in `compute.adapters.engine.disk`."""

from typing import Protocol

from compute.protocol.synapses import DiskEnforcement


class Disks(Protocol):
    """The disks of a host's leases. Safe to call from any thread, for different leases."""

    @property
    def enforcement(self) -> DiskEnforcement:
        """What a miner may promise about sizes here."""
        ...

    def room_mib(self) -> int:
        """MiB for all leases together: what is free, and what their disks have reserved."""
        ...

    def attach(self, lease_id: str, size_mib: int, layer: str) -> None:
        """Put a container's writable layer under its limit, before it is started.

        A lease whose disk is there already (its container was stopped, or the host rebooted)
        gets the same one again.

        Args:
            lease_id: whose it is.
            size_mib: its size in MiB.
            layer: folder of the container's own layer on this host.

        Raises:
            EngineError: `DISK_FULL` when the host has not that much left, `HOST_UNFIT` otherwise.
        """
        ...

    def detach(self, lease_id: str) -> None:
        """Let go of a stopped container's layer; missing is no error."""
        ...

    def destroy(self, lease_id: str) -> None:
        """Delete a lease's disk and everything on it; missing is no error.

        Raises:
            EngineError: `HOST_UNFIT` when it is still in use.
        """
        ...

    def known(self) -> tuple[str, ...]:
        """Ids of leases that have a disk here."""
        ...

    def used_mib(self, layer: str) -> int | None:
        """MiB that a layer takes, where it is to be watched; None where a limit holds by itself.

        Raises:
            EngineError: `HOST_UNFIT` when it cannot be measured.
        """
        ...
