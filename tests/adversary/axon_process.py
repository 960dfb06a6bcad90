"""An axon in a process of its own, for the tests that abuse one.

Prints its port, serves until standard input ends, logs errors to standard error. With the argument
`impatient` its time limits are short.
"""

import asyncio
import logging
import sys
from dataclasses import replace

import structlog

from compute.domain.requirement import Capacity
from compute.errors import Code, LeaseError
from compute.protocol.axon import Axon
from compute.protocol.context import RequestContext
from compute.protocol.synapses import (
    ALLOCATE,
    CHALLENGE,
    LEASE,
    SPECS,
    AllocateReply,
    AllocateRequest,
    ChallengeReply,
    ChallengeRequest,
    LeaseReply,
    LeaseRequest,
    Message,
    SpecsReply,
    SpecsRequest,
    Synapse,
    Terms,
)
from compute.testing.axon import TEST_LIMITS, view_of
from compute.testing.wallets import dev_wallet


class Text(Message):
    """Any text."""

    text: str = ""


TELL = Synapse("Tell", Text, Text, 65_536, 65_536, 5)
LIMITS = replace(
    TEST_LIMITS,
    connections=400,
    connections_per_address=300,
    rate_per_hotkey=0,
    rate=0,
    failures_per_address=0,
)
IMPATIENT = replace(LIMITS, head_s=0.4, body_s=0.4, linger_s=0.4, idle_s=0.4)
NOTHING = Capacity(leases=0, gpus=0, cpus=0, memory_mib=0, disk_mib=0)


async def tell(request: Text, _context: RequestContext) -> Text:
    """The same text."""
    return request


async def specs(_request: SpecsRequest, _context: RequestContext) -> SpecsReply:
    """A miner without anything."""
    return SpecsReply(
        software="test",
        hosts=(),
        total=NOTHING,
        free=NOTHING,
        terms=Terms(longest_lease_s=60, internet=False, disk="none"),  # type: ignore[arg-type]
        default_image="",
    )


async def allocate(_request: AllocateRequest, _context: RequestContext) -> AllocateReply:
    """Nothing is to be had."""
    return AllocateReply(available=False)


async def lease(_request: LeaseRequest, _context: RequestContext) -> LeaseReply:
    """There are no leases."""
    raise LeaseError(Code.LEASE_UNKNOWN)


async def challenge(request: ChallengeRequest, _context: RequestContext) -> ChallengeReply:
    """The same bytes."""
    return ChallengeReply(session="0" * 32, data=request.data)


async def main() -> None:
    """Serve until standard input ends."""
    callers = (dev_wallet("Caller").address, dev_wallet("CallerEd", crypto_type=0).address)
    limits = IMPATIENT if "impatient" in sys.argv else LIMITS
    axon = Axon(dev_wallet("Me"), metagraph=view_of(*callers), limits=limits)
    axon.attach(TELL, tell, workers=64)
    axon.attach(SPECS, specs)
    axon.attach(ALLOCATE, allocate)
    axon.attach(LEASE, lease)
    axon.attach(CHALLENGE, challenge)
    async with axon.serving("127.0.0.1"):
        print(axon.port, flush=True)  # noqa: T201 - the test reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(main())
