"""Everything a renter needs, made once and closed together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from compute.adapters.chain import SdkChain, open_wallet
from compute.domain.metagraph import Metagraph, Neuron
from compute.errors import Code, PeerError, UsageError
from compute.ports.chain import Chain
from compute.protocol.dendrite import Dendrite, Peer
from compute.renter.book import LeaseBook
from compute.renter.client import Renter
from compute.settings.renter import RenterSettings


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


@asynccontextmanager
async def open_session(settings: RenterSettings, trace: str = "") -> AsyncIterator[RenterSession]:
    """Open a renter's session: wallet, chain and dendrite.

    Args:
        settings: whose wallet, which chain, which state folder.
        trace: id of the operation that the session is for.

    Raises:
        WalletError: when the hotkey is missing.
        UsageError: when there is no such network.
    """
    wallet = open_wallet(settings.wallet.path, settings.wallet.name, settings.wallet.hotkey)
    hotkey = wallet.hotkey.ss58_address
    dendrite = Dendrite(wallet, allow_private=settings.private_addresses)
    chain = SdkChain(settings.subtensor.network, settings.netuid, wallet)
    book = LeaseBook(settings.state)
    renter = Renter(dendrite, book, hotkey=hotkey, netuid=settings.netuid, trace=trace)
    session = RenterSession(hotkey, chain, dendrite, book, renter)
    try:
        yield session
    finally:
        await session.close()


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
    return Peer.parse(neuron.hotkey, neuron.axon, neuron.certificate_sha256)
