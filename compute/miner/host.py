"""What every part of a leasing host works with, handed in once."""

from collections.abc import Callable
from dataclasses import dataclass

from compute.domain.capacity import Supply
from compute.domain.container import KIND, MANAGED, OWNER, Surroundings
from compute.ports.engine import Engine, EngineInfo, NetworkSpec
from compute.ports.hardware import Hardware, HostClock
from compute.ports.ledger import Ledger
from compute.protocol.keys import Key
from compute.settings.leases import LeaseSettings

Ready = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host: its settings, its ports to the outside, and what it leases.

    Attributes:
        key: the miner's hotkey.
        image: engine id of the default image.
        ready: waits until an address and port show an SSH banner, or raises `EngineError`.
        supply: everything that can be leased.
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

    @property
    def network(self) -> NetworkSpec:
        """The network of this host's leases."""
        owner = self.ledger.owner
        return NetworkSpec(
            name=f"compute-{owner}",
            bridge=f"cl{owner[:12]}",
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
            quota=self.info.quota and settings.disk in {"auto", "quota"},
        )
