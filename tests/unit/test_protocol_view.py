"""The cached metagraph, and an hour without a chain."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from bittensor import http_auth

from compute.domain.metagraph import Metagraph
from compute.errors import ChainError, Code
from compute.protocol.axon import Axon
from compute.protocol.codec import encode
from compute.protocol.gate import Gate
from compute.protocol.synapses import Message, Synapse
from compute.protocol.view import CachedMetagraph
from compute.testing.axon import ManualTime, Reply, metagraph, neuron, post
from compute.testing.wallets import DevWallet, dev_wallet

ME, KNOWN, NEW, LISTED = (dev_wallet(name) for name in ("Me", "Known", "New", "Listed"))


class ChainOnAndOff:
    """A chain that can be away, and to which neurons can be added."""

    def __init__(self, *wallets: DevWallet) -> None:
        self.wallets = list(wallets)
        self.away = False
        self.reads = 0

    async def read(self) -> Metagraph:
        """The metagraph, if the chain is there."""
        self.reads += 1
        if self.away:
            raise ChainError(Code.CHAIN_AWAY)
        return metagraph(neuron(w.address, uid=uid) for uid, w in enumerate(self.wallets))


class Nothing(Message):
    """No content."""


ASK = Synapse("Ask", Nothing, Nothing, 4096, 4096, 5)


async def nothing(request: Nothing, _context: object) -> Nothing:
    """The same: these tests are about who gets in."""
    return request


Knock = Callable[[DevWallet], Awaitable[Reply]]


def knocker(axon: Axon, clock: ManualTime) -> Knock:
    """A function that sends one well-signed request."""

    async def knock(wallet: DevWallet) -> Reply:
        clock.advance(0.001)
        body = encode(Nothing())
        headers = http_auth.sign(
            wallet,
            method="POST",
            path="/Ask",
            body=body,
            receiver_ss58=ME.address,
            nonce_ns=clock.time_ns(),
        )
        return await post(axon, "/Ask", headers, body)

    return knock


ADMITTED = "ok"


async def test_an_hour_without_a_chain() -> None:
    """Known callers are served, strangers are not, and answers say that the view is stale."""
    clock = ManualTime()
    chain = ChainOnAndOff(KNOWN)
    view = CachedMetagraph(chain.read, clock=clock)
    assert await view.refresh()
    axon = Axon(ME, metagraph=view, gate=Gate(allow=frozenset({LISTED.address})), clock=clock)
    axon.attach(ASK, nothing)
    knock = knocker(axon, clock)
    clock.advance(5)
    fresh = await knock(KNOWN)
    assert (fresh.code, "x-compute-stale" in fresh.headers) == (ADMITTED, False)
    assert (await knock(NEW)).code == "not_registered"

    chain.away = True
    chain.wallets.append(NEW)
    for _ in range(60):
        clock.advance(60)
        assert not await view.refresh()
        known, stranger = await knock(KNOWN), await knock(NEW)
        assert known.code == ADMITTED
        if view.current()[1] > 600:
            assert int(known.headers["x-compute-stale"]) > 600
            assert stranger.code == "chain_away"
            assert "x-compute-stale" in stranger.headers
    assert view.current()[1] == pytest.approx(3605, abs=1)

    chain.away = False
    assert await view.refresh()
    assert (await knock(NEW)).code == ADMITTED
    assert "x-compute-stale" not in (await knock(KNOWN)).headers


async def test_a_view_that_is_a_day_old_admits_only_the_allow_list() -> None:
    """Permits of yesterday are worth nothing; the operator's own list is."""
    clock = ManualTime()
    view = CachedMetagraph(ChainOnAndOff(KNOWN).read, clock=clock)
    await view.refresh()
    axon = Axon(ME, metagraph=view, gate=Gate(allow=frozenset({LISTED.address})), clock=clock)
    axon.attach(ASK, nothing)
    knock = knocker(axon, clock)
    clock.advance(86_500)
    assert (await knock(KNOWN)).code == "chain_away"
    assert (await knock(LISTED)).code == ADMITTED


async def test_before_the_chain_was_ever_read_nobody_is_known() -> None:
    """A miner that starts without a chain admits its allow list, and says `never`."""
    clock = ManualTime()
    chain = ChainOnAndOff(KNOWN)
    chain.away = True
    view = CachedMetagraph(chain.read, clock=clock)
    assert not await view.refresh()
    axon = Axon(ME, metagraph=view, clock=clock)
    axon.attach(ASK, nothing)
    clock.advance(5)
    reply = await knocker(axon, clock)(KNOWN)
    assert (reply.code, reply.headers["x-compute-stale"]) == ("chain_away", "never")


async def test_an_unknown_caller_makes_the_view_refresh_early() -> None:
    """A validator that has just registered is let in without waiting for the next round."""
    clock = ManualTime()
    chain = ChainOnAndOff(KNOWN)
    view = CachedMetagraph(chain.read, refresh_s=3600, clock=clock)
    await view.start()
    try:
        axon = Axon(ME, metagraph=view, clock=clock)
        axon.attach(ASK, nothing)
        knock = knocker(axon, clock)
        chain.wallets.append(NEW)
        clock.advance(5)
        assert (await knock(NEW)).code == "not_registered"
        await asyncio.sleep(0)
        assert chain.reads == 1  # too soon after the first
        clock.advance(5)
        assert (await knock(NEW)).code == "not_registered"
        for _ in range(5):
            await asyncio.sleep(0)
        assert (await knock(NEW)).code == ADMITTED
    finally:
        await view.stop()
