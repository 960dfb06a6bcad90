"""One process of many on a development chain: publishes commitments and says which went through.

Arguments: network, subnet, development phrase, first number, how many (0: until it is killed).
Each number that the chain has accepted is printed on a line of its own.
"""

import asyncio
import sys
from itertools import count

from compute.adapters.chain import SdkChain
from compute.testing.chain import DevWallet


async def publish(network: str, netuid: str, phrase: str, first: str, many: str) -> None:
    """Publish one number after the other."""
    chain = SdkChain(network, int(netuid), DevWallet(phrase))
    numbers = range(int(first), int(first) + int(many)) if int(many) else count(int(first))
    for number in numbers:
        await chain.commit(str(number).encode())
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await chain.close()


if __name__ == "__main__":
    asyncio.run(publish(*sys.argv[1:]))
