"""From a wish to a lease: whom to ask, in which order, and for how long."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from compute.domain.hardware import Value
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, LeaseError
from compute.protocol.dendrite import Peer
from compute.renter.book import LeaseRecord
from compute.renter.client import Wish
from compute.renter.session import RenterSession, find_miner, peer_of

ASK_AGAIN_S = 5.0
# After these another miner must not be asked: the fault is the request's, or there may be a lease.
FINAL = frozenset(
    {
        Code.USAGE,
        Code.INTERNAL,
        Code.STORAGE_FAILED,
        Code.BAD_KEY,
        Code.PEER_LATE,
    }
)
Tell = Callable[[str], None]


class Quote(Value):
    """Whether one miner could grant a wish now; nothing is reserved.

    Attributes:
        miner: hotkey (ss58), at `address` (`ip:port`).
        requirement: as it would be granted; None when the miner did not say.
        why: why it is not available, where that is known.
    """

    uid: int
    miner: str
    address: str
    available: bool
    duration_s: int
    requirement: Requirement | None = None
    why: str = ""


async def candidates(
    session: RenterSession, wish: Wish, miner: str = "", tell: Tell = lambda _: None
) -> list[tuple[int, Peer]]:
    """UIDs and addresses of the miners to ask, the quickest that fits first.

    Args:
        session: whose renter asks.
        wish: what they should have free.
        miner: UID or hotkey of the only one to ask; its claim is not asked for then.
        tell: is told what is going on.

    Raises:
        LeaseError: `NO_CAPACITY` when nobody says that it has this free.
        UsageError: when the subnet has no such miner.
    """
    metagraph = await session.chain.metagraph()
    if miner:
        neuron = find_miner(metagraph, miner)
        return [(neuron.uid, peer_of(neuron))]
    tell(f"asking the miners of subnet {metagraph.netuid}")
    offers, _ = await session.renter.offers(metagraph)
    fitting = [offer for offer in offers if offer.fits(wish.requirement)]
    if not fitting:
        raise LeaseError(Code.NO_CAPACITY, "no miner says that it has this free")
    return [(o.uid, o.peer) for o in sorted(fitting, key=lambda offer: offer.elapsed_s)]


async def quotes(
    session: RenterSession, wish: Wish, miner: str = "", tell: Tell = lambda _: None
) -> list[Quote]:
    """Ask every candidate whether it would grant a wish now."""
    asked = await candidates(session, wish, miner, tell)

    async def ask(uid: int, peer: Peer) -> Quote:
        quote = Quote(
            uid=uid,
            miner=peer.hotkey,
            address=peer.address,
            available=False,
            duration_s=wish.duration_s,
        )
        try:
            reply = await session.renter.quote(peer, wish)
        except ComputeError as error:
            if miner:
                raise
            return quote.model_copy(update={"why": str(error)})
        return quote.model_copy(
            update={
                "available": reply.available,
                "requirement": reply.requirement,
                "why": "" if reply.available else "it is taken",
            }
        )

    return list(await asyncio.gather(*(ask(uid, peer) for uid, peer in asked)))


async def lease(
    session: RenterSession,
    wish: Wish,
    *,
    miner: str = "",
    name: str = "",
    wait_s: float = 0.0,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> LeaseRecord:
    """Lease from the first candidate that grants it.

    Args:
        session: whose renter asks.
        wish: what to lease.
        miner: UID or hotkey; empty for the quickest that fits.
        name: the renter's name for the lease; empty for one of ours.
        wait_s: how long to go on asking while nothing is free.
        tell: is told what is going on.
        clock: monotonic seconds.
        sleep: waits between two attempts.

    Raises:
        ComputeError: the first candidate's refusal when nobody granted it in time. After
            `PEER_LATE` there may be a lease: its hint says how to ask for it again.
    """
    until = clock() + wait_s
    while True:
        try:
            return await _attempt(session, wish, miner, name, tell)
        except ComputeError as error:
            left = until - clock()
            if not error.code.spec.retryable or error.code in FINAL or left <= 0:
                raise
            tell(f"{error}; asking again for {left:.0f} s")
        await sleep(min(ASK_AGAIN_S, max(0.0, left)))


async def _attempt(
    session: RenterSession, wish: Wish, miner: str, name: str, tell: Tell
) -> LeaseRecord:
    refused: ComputeError | None = None
    for _, peer in await candidates(session, wish, miner, tell):
        tell(f"leasing from {peer.hotkey} at {peer.address}")
        try:
            return await session.renter.up(peer, wish, name=name)
        except ComputeError as error:
            if error.code in FINAL:
                raise
            tell(f"  {error}")
            refused = refused or error
    if refused is None:  # pragma: no cover - there is always a candidate
        raise AssertionError
    raise refused
