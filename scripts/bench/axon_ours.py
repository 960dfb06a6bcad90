"""Our side of the axon bench: one axon to load, many to fan out to, and the dendrite.

::

    python -m scripts.bench.axon_ours serve            prints its port, serves until input ends
    python -m scripts.bench.axon_ours call PORT N S    keeps N requests in flight for S seconds
    python -m scripts.bench.axon_ours subnet COUNT     serves many axons, prints their addresses
    python -m scripts.bench.axon_ours round            reads those, asks all of them for Specs
"""

import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import replace

import uvloop

from compute.domain.requirement import Capacity
from compute.protocol.address import Peer
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.dendrite import Dendrite
from compute.protocol.limits import Limits
from compute.protocol.synapses import (
    SPECS,
    DiskEnforcement,
    Message,
    SpecsReply,
    SpecsRequest,
    Synapse,
    Terms,
)
from compute.protocol.view import FixedMetagraph
from compute.testing.axon import metagraph, neuron
from compute.testing.wallets import dev_wallet
from scripts.bench.axon_load import PAYLOAD, load, say

ALICE, BOB = dev_wallet("Alice"), dev_wallet("Bob")
LIMITS = replace(
    Limits(), skew_s=0, rate_per_hotkey=0, rate=0, running_per_hotkey=4096, running=4096
)
DEAD, HANGING, GARBAGE = 0.10, 0.10, 0.05  # shares of a round's axons
TIMEOUT_S, DEADLINE_S = 4.0, 5.0
CONCURRENCY = 256


class Echo(Message):
    """The same text."""

    text: str


ECHO = Synapse("Echo", Echo, Echo, 16_384, 16_384, 12)
SOME = Capacity(leases=1, gpus=0, cpus=8, memory_mib=2**15, disk_mib=2**20)
CLAIM = SpecsReply(
    software="bench",
    hosts=(),
    total=SOME,
    free=SOME,
    terms=Terms(longest_lease_s=86_400, internet=True, disk=DiskEnforcement.WATCH),
    default_image="sha256:" + "0" * 64,
)


def new_axon(name: str) -> Axon:
    """An axon of a subnet with 256 neurons, of which Alice is a validator."""
    others = (neuron(dev_wallet(f"n{uid}").address, uid=uid) for uid in range(1, 8))
    view = FixedMetagraph(metagraph([neuron(ALICE.address), *others]))
    return Axon(dev_wallet(name), metagraph=view, limits=LIMITS)


async def echo(request: Echo, _context: RequestContext) -> Echo:
    """Answer."""
    return request


async def specs(_request: SpecsRequest, _context: RequestContext) -> SpecsReply:
    """Claim the same as everybody."""
    return CLAIM


async def end_of_input() -> None:
    """Wait until the bench closes standard input."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def serve() -> None:
    """Serve one axon."""
    axon = new_axon("Bob")
    axon.attach(ECHO, echo, workers=512)
    async with axon.serving("127.0.0.1"):
        say(axon.port)
        await end_of_input()


async def call(port: int, in_flight: int, seconds: float) -> None:
    """Load the axon at a port."""
    peer = Peer(BOB.address, "127.0.0.1", port)
    async with Dendrite(ALICE, allow_private=True) as dendrite:

        async def once(_number: int) -> bool:
            answer = await dendrite.call(peer, ECHO, Echo(text=PAYLOAD))
            return answer.reply.text == PAYLOAD

        say(await load(once, in_flight, seconds))


async def subnet(count: int) -> None:
    """Serve many axons on ports of their own; some are dead, hang or answer garbage."""
    dead, hanging, garbage = (round(count * share) for share in (DEAD, HANGING, GARBAGE))
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for index in range(count - dead - hanging - garbage):
            axon = new_axon(f"m{index}")
            axon.attach(SPECS, specs)
            await stack.enter_async_context(axon.serving("127.0.0.1"))
            addresses.append((axon.hotkey, axon.port))
        for answer, number in ((None, hanging), (b"HTTP/1.1 200 OK\r\n\r\n\x00garbage", garbage)):
            for index in range(number):
                port = await _listen(stack, answer)
                addresses.append((dev_wallet(f"x{answer is None}{index}").address, port))
        for index in range(dead):
            async with contextlib.AsyncExitStack() as brief:
                port = await _listen(brief, None)
            addresses.append((dev_wallet(f"d{index}").address, port))
        say(addresses)
        await end_of_input()


async def _listen(stack: contextlib.AsyncExitStack, answer: bytes | None) -> int:
    """A port that accepts and hangs, or answers the same bytes to everything."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


async def ask_all() -> None:
    """Ask all axons of a subnet for their Specs, once to warm up on ten of them, then all."""
    addresses = json.loads(await asyncio.to_thread(sys.stdin.readline))
    peers = [Peer(hotkey, "127.0.0.1", port) for hotkey, port in addresses]
    peers = [peers[(index * 7919) % len(peers)] for index in range(len(peers))]  # mixed
    async with Dendrite(ALICE, allow_private=True) as dendrite:
        await dendrite.fan_out(peers[:4], SPECS, SpecsRequest(), timeout_s=1)
        started = time.perf_counter()
        outcomes = await dendrite.fan_out(
            peers,
            SPECS,
            SpecsRequest(),
            timeout_s=TIMEOUT_S,
            deadline_s=DEADLINE_S,
            concurrency=CONCURRENCY,
        )
        took_s = time.perf_counter() - started
    codes = Counter(o.error.code.spec.slug if o.error else "ok" for o in outcomes)
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say({"seconds": took_s, "rss_mib": rss_mib, "codes": codes})


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    gc.freeze()  # as `compute.cli.neuron` starts a neuron, like the loop
    if role == "serve":
        uvloop.run(serve())
    elif role == "call":
        uvloop.run(call(int(arguments[0]), int(arguments[1]), float(arguments[2])))
    elif role == "subnet":
        uvloop.run(subnet(int(arguments[0])))
    else:
        uvloop.run(ask_all())
