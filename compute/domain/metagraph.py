"""The subnet as the chain sees it, reduced to what the roles need."""

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Neuron:
    """One UID of the subnet.

    Attributes:
        axon: announced address, `ip:port` or `[v6]:port`; None when nothing is served.
        stake: total stake on this subnet, in alpha.
        incentive: share of miner emission, 0 to 1.
        dividends: share of validator emission, 0 to 1.
        last_update: block of the last weights (or of the registration).
        certificate_sha256: published for the axon's TLS (32 bytes); None: it speaks plain HTTP.
    """

    uid: int
    hotkey: str
    coldkey: str
    axon: str | None
    stake: float
    validator_permit: bool
    incentive: float
    dividends: float
    last_update: int
    active: bool = True
    certificate_sha256: bytes | None = None


@dataclass(frozen=True)
class Metagraph:
    """All neurons of one subnet at one block, in UID order."""

    netuid: int
    block: int
    neurons: tuple[Neuron, ...]
    tempo: int
    blocks_since_epoch: int = 0
    extra: dict[str, int] = field(default_factory=dict, compare=False)

    @cached_property
    def by_hotkey(self) -> dict[str, Neuron]:
        """Neurons by hotkey address (ss58)."""
        return {neuron.hotkey: neuron for neuron in self.neurons}

    def neuron(self, hotkey: str) -> Neuron | None:
        """The neuron with this hotkey, or None when it is not registered."""
        return self.by_hotkey.get(hotkey)
