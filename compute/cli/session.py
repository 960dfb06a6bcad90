"""The composition root of the `compute` command: settings in, a renter's session out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import typer

from compute.adapters.chain import SdkChain, open_wallet
from compute.cli.output import Output
from compute.protocol.dendrite import Dendrite
from compute.renter.book import LeaseBook
from compute.renter.client import Renter
from compute.renter.session import RenterSession
from compute.settings.renter import RenterSettings

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Context:
    """What every verb gets: settings, where to speak, and the operation's trace id."""

    settings: RenterSettings
    output: Output
    trace: str

    @property
    def book(self) -> LeaseBook:
        """The renter's lease book."""
        return LeaseBook(self.settings.state)


def context(ctx: typer.Context) -> Context:
    """The context that the command's root has put there."""
    found = ctx.find_object(Context)
    if found is None:  # pragma: no cover - the root callback always runs first
        raise RuntimeError("no context")
    return found


@asynccontextmanager
async def renting(settings: RenterSettings) -> AsyncIterator[RenterSession]:
    """Open a renter's session: wallet, chain and dendrite.

    Raises:
        WalletError: when the hotkey is missing.
    """
    wallet = open_wallet(settings.wallet.path, settings.wallet.name, settings.wallet.hotkey)
    hotkey = wallet.hotkey.ss58_address
    dendrite = Dendrite(wallet, allow_private=settings.private_addresses)
    chain = SdkChain(settings.subtensor.network, settings.netuid, wallet)
    book = LeaseBook(settings.state)
    renter = Renter(dendrite, book, hotkey=hotkey, netuid=settings.netuid)
    session = RenterSession(hotkey, chain, dendrite, book, renter)
    try:
        yield session
    finally:
        await session.close()


def run(ctx: Context, work: Callable[[RenterSession], Awaitable[ResultT]]) -> ResultT:
    """Run one verb's asynchronous work in a session of its own."""

    async def whole() -> ResultT:
        async with renting(ctx.settings) as session:
            return await work(session)

    return asyncio.run(whole())
