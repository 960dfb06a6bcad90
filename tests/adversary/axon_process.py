"""An axon in a process of its own, for the tests that abuse one. Prints its port."""

import asyncio
import logging
import sys
from dataclasses import replace

import structlog

from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.synapses import Message, Synapse
from compute.testing.axon import TEST_LIMITS, view_of
from compute.testing.wallets import dev_wallet


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 65_536, 65_536, 5)
LIMITS = replace(
    TEST_LIMITS,
    head_s=0.4,
    body_s=0.4,
    linger_s=0.4,
    idle_s=0.4,
    connections=400,
    connections_per_address=300,
    rate_per_hotkey=0,
    rate=0,
    failures_per_address=0,
)


async def tell(request: Text, _context: RequestContext) -> Text:
    """The same text."""
    return request


async def main() -> None:
    """Serve until standard input ends."""
    axon = Axon(dev_wallet("Me"), metagraph=view_of(dev_wallet("Caller").address), limits=LIMITS)
    axon.attach(TELL, tell, workers=64)
    async with axon.serving("127.0.0.1"):
        print(axon.port, flush=True)  # noqa: T201 - the test reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main())
