"""Everything a renter needs, made once and closed together."""

from dataclasses import dataclass

from compute.domain.metagraph import Metagraph, Neuron
from compute.errors import Code, PeerError, UsageError
from compute.ports.chain import Chain
from compute.protocol.dendrite import Dendrite, Peer
from compute.renter.book import LeaseBook
from compute.renter.client import Renter


@dataclass(frozen=True, slots=True)
class RenterSession:
    """A renter with his chain and his connections.

    Attributes:
        hotkey: the renter's own address (ss58).
    """

    hotkey: str
    chain: Chain
    dendrite: Dendrite
    book: LeaseBook
    renter: Renter

    async def close(self) -> None:
        """Close connections."""
        await self.dendrite.close()
        await self.chain.close()


def find_miner(metagraph: Metagraph, wanted: str) -> Neuron:
    """The neuron with this UID or hotkey.

    Raises:
        UsageError: when the subnet has no such neuron.
    """
    for neuron in metagraph.neurons:
        if wanted in (str(neuron.uid), neuron.hotkey):
            return neuron
    raise UsageError(
        f"subnet {metagraph.netuid} has no neuron '{wanted}'", hint="'compute ls' lists the miners"
    )


def peer_of(neuron: Neuron) -> Peer:
    """Where a neuron is called; raises `PeerError` `PEER_AWAY` when it announces nothing."""
    if neuron.axon is None:
        raise PeerError(Code.PEER_AWAY, f"UID {neuron.uid} announces no axon on chain")
    return Peer.parse(neuron.hotkey, neuron.axon)
