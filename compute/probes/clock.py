"""What the chain's blocks tell about this machine's clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from compute.adapters.chain import open_client
from compute.adapters.chain.failures import FAILURES, translate
from compute.errors import ChainError, Code
from compute.protocol.limits import Limits

READ_S = 20.0
PATIENCE_BLOCKS = 4  # a chain that brings no block in the time of so many stands still
# Beyond it axons take requests for ones from the future, or ours takes others' for such.
ALLOWED_SKEW_S = Limits().skew_s


async def newest_block(network: str) -> int:
    """Number of the newest block.

    Raises:
        ChainError: `CHAIN_AWAY`.
    """
    async with _client(network) as client:
        return int(await client.block())


async def skew_s(network: str) -> float:
    """How far this machine's clock is ahead of the chain's; behind is negative.

    A block carries the time at which it was made; this looks at the clock when the next one comes.
    What a block may need for its way, half the time between two, is not held against the clock.

    Raises:
        ChainError: `CHAIN_AWAY` when the chain does not answer or stands still.
    """
    async with _client(network) as client:
        first = await client.block()
        block_s = float(await client.block_time())
        until = time.monotonic() + PATIENCE_BLOCKS * block_s + READ_S / 2
        while (block := await client.block()) == first:
            if time.monotonic() > until:
                raise ChainError(Code.CHAIN_AWAY, f"no block after {first}: the chain stands still")
            await asyncio.sleep(min(1.0, block_s / 4))
        seen = time.time()
        age: float = seen - (await client.timestamp(block)).timestamp()
    return age if age < 0 else max(0.0, age - block_s / 2)


@asynccontextmanager
async def _client(network: str) -> AsyncIterator[Any]:
    client = open_client(network)
    try:
        async with asyncio.timeout(READ_S):
            await client.connect()
        yield client
    except FAILURES as error:
        raise translate(error) from error
    finally:
        await client.close()


def skew_in_words(skew: float) -> str:
    """A skew in words."""
    way = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {abs(skew):.0f} s {way} the chain's"
