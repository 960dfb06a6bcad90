"""A process full of simulated miners: one axon for each, until standard input ends.

Reads one line of JSON: the validator's hotkey and, for each miner, its phrase and its habit. Writes
one line: the ports.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import structlog

from compute.testing.axon import view_of
from compute.testing.chain import DevWallet
from compute.testing.miners import Habit, SimulatedMiner, gpu

ADDRESS = "127.0.0.2"
GPU_MODEL = "Simulated L4"


def miner_of(entry: dict[str, Any], places: int) -> SimulatedMiner:
    """A miner as the bench asked for it."""
    claimed = (gpu(f"GPU-{entry['phrase']}", entry["model"]),) if entry["model"] else ()
    habit = Habit(entry["habit"])
    return SimulatedMiner(DevWallet(entry["phrase"]), claimed, habit, places=places)


async def main() -> None:
    """Serve until standard input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    config = json.loads(sys.stdin.readline())
    view = view_of(config["validator"])
    async with AsyncExitStack() as stack:
        ports = [
            (await stack.enter_async_context(axon.serving(ADDRESS))).port
            for axon in (miner_of(entry, config["places"]).axon(view) for entry in config["miners"])
        ]
        print(json.dumps(ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
