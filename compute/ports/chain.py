"""What the roles ask of a chain. Implemented over the bittensor SDK in `compute.adapters.chain`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from compute.domain.metagraph import Metagraph


@dataclass(frozen=True, slots=True)
class WeightsReceipt:
    """What became of one weights transaction.

    Attributes:
        block: block of inclusion, or None when the chain did not say.
        reveal_round: drand round at which a timelocked commit opens; None for plain weights.
        message: the chain's own words.
    """

    block: int | None
    reveal_round: int | None
    message: str


class Chain(Protocol):
    """A subnet's chain, as seen by one neuron.

    Every method raises `ChainError` with `CHAIN_AWAY` when the chain cannot be reached; it works
    again by itself when the chain is back. Those that write raise `NOT_REGISTERED`,
    `SUBNET_MISSING`, `CHAIN_RATE_LIMITED` inside a rate limit, and `CHAIN_REFUSED` with the chain's
    own reason otherwise. A write that ends with `CHAIN_AWAY` may have got through all the same.
    """

    async def block(self) -> int:
        """Current block number."""
        ...

    async def metagraph(self) -> Metagraph:
        """The subnet's neurons now; raises `SUBNET_MISSING` when there is no such subnet."""
        ...

    async def serve_axon(self, ip: str, port: int, certificate_sha256: bytes | None = None) -> None:
        """Announce this neuron's axon; a no-op when the chain already says the same.

        Args:
            ip: IPv4 or IPv6 address.
            port: TCP port.
            certificate_sha256: of the axon's TLS certificate (32 bytes), which others pin; None
                announces plain HTTP, and takes back what was published before.
        """
        ...

    async def set_weights(self, weights: Mapping[int, float], version_key: int) -> WeightsReceipt:
        """Set weights by UID (any non-negative scale), plain or commit-reveal as configured."""
        ...

    async def commit(self, data: bytes) -> None:
        """Publish up to 128 bytes under this neuron's hotkey."""
        ...

    async def commitment(self, hotkey: str) -> bytes | None:
        """What a hotkey has published, or None."""
        ...

    async def close(self) -> None:
        """Let go of connections; the object is not used afterwards."""
        ...
