"""What every part of a leasing host works with, handed in once."""

from collections.abc import Callable
from dataclasses import dataclass

from compute.domain.capacity import Supply
from compute.domain.container import KIND, MANAGED, OWNER, Surroundings, bridge_of, network_of
from compute.ports.disk import Disks
from compute.ports.engine import Engine, EngineInfo, NetworkSpec
from compute.ports.firewall import Firewall
from compute.ports.hardware import Activity, Hardware, HostClock
from compute.ports.ledger import Ledger
from compute.protocol.keys import Key
from compute.protocol.synapses import DiskEnforcement
from compute.settings.leases import LeaseSettings

ReadActivity = Callable[[int], Activity]
LimitEgress = Callable[[int, int], None]
# A resolver that never answers (RFC 5737): the engine must not resolve names on its host's behalf
# for leases that are kept off the internet.
NO_RESOLVER = "192.0.2.1"
Ready = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host: its settings, its ports to the outside, and what it leases.

    Attributes:
        key: the miner's hotkey.
        image: engine id of the default image.
        ready: waits until an address and port show an SSH banner, or raises `EngineError`.
        supply: everything that can be leased.
        firewall: keeps leases from the host, its networks and metadata.
        disks: holds leases to their disk sizes.
        activity: what the container of a process does.
        limit_egress: limits the upload of a process's network namespace, in Mbit/s.
    """

    settings: LeaseSettings
    key: Key
    image: str
    engine: Engine
    info: EngineInfo
    ledger: Ledger
    hardware: Hardware
    clock: HostClock
    supply: Supply
    ready: Ready
    firewall: Firewall
    limit_egress: LimitEgress
    disks: Disks
    activity: ReadActivity

    @property
    def network(self) -> NetworkSpec:
        """The network of this host's leases."""
        owner = self.ledger.owner
        return NetworkSpec(
            name=network_of(owner),
            bridge=bridge_of(owner),
            labels={MANAGED: "1", OWNER: owner, KIND: "network"},
        )

    @property
    def surroundings(self) -> Surroundings:
        """What this host gives every container that it makes."""
        settings = self.settings
        return Surroundings(
            owner=self.ledger.owner,
            network=self.network.name,
            bind_address=settings.bind_address,
            pids=settings.pids,
            open_files=settings.open_files,
            dns=() if settings.internet else (NO_RESOLVER,),
            quota=self.disks.enforcement is DiskEnforcement.QUOTA,
        )
