"""How fast the development chain is: what neurons do all the time, on subnets of two sizes.

    python scripts/bench/chain.py

Fixed input, medians in milliseconds; run it on an idle machine.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import bittensor_core

from compute.adapters.chain import SdkChain
from compute.adapters.chain.devchain import SubnetParams
from compute.adapters.chain.devchain.file import Tx
from compute.adapters.chain.devchain.ledger import put_weights, seat, set_stake
from compute.adapters.chain.devchain.state import DevState
from compute.testing.chain import DevHost, DevWallet

NEURONS = (256, 1024)
VALIDATORS = 64
TEMPO = 100
RULES = SubnetParams(tempo=TEMPO, max_uids=4096, weights_rate_limit=0, commitment_space=10**9)


def _fill(tx: Tx, count: int) -> None:
    """Register so many neurons with stake and an axon each."""
    for number in range(count):
        hotkey = bittensor_core.ss58_encode((number + 1).to_bytes(32, "little"))
        seat(tx, 1, hotkey, bittensor_core.ss58_encode((number + 10**6).to_bytes(32, "little")))
        set_stake(tx, 1, hotkey, 10**12 - number)
        tx.db.execute(
            "INSERT INTO axons VALUES (1, ?, 1, 1, ?, 8091, 4, 4)", (hotkey, 0x0A000000 + number)
        )


def _weigh(tx: Tx, count: int) -> None:
    """A full row of weights from each validator."""
    for uid in range(VALIDATORS):
        put_weights(tx, 1, uid, [(target, target + 1) for target in range(count)])
    tx.db.execute("UPDATE neurons SET last_update = ?", (tx.head,))


async def _median_ms(work: Callable[[], Awaitable[object]], times: int) -> float:
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1000


async def _measure(host: DevHost, count: int) -> dict[str, float]:
    state = DevState(host.path)
    state.change(lambda tx: _fill(tx, count - 1))
    wallet = host.registered("//Bench", stake=1)
    state.advance(TEMPO)
    state.change(lambda tx: _weigh(tx, count))
    chain = SdkChain(host.network, host.netuid, DevWallet(wallet.phrase))
    await chain.block()

    async def epoch() -> None:
        state.advance(TEMPO)

    found = {
        "block number": await _median_ms(chain.block, 500),
        "metagraph": await _median_ms(chain.metagraph, 20),
        "commitment": await _median_ms(lambda: chain.commit(b"bench"), 100),
        f"epoch, {VALIDATORS} full rows": await _median_ms(epoch, 10),
    }
    await chain.close()
    state.close()
    return found


def main() -> None:
    """Print one column for each size."""
    columns = []
    for count in NEURONS:
        with tempfile.TemporaryDirectory() as folder:
            host = DevHost(Path(folder), RULES)
            columns.append(asyncio.run(_measure(host, count)))
            host.close()
    sys.stdout.write(f"{'ms, median':<24}" + "".join(f"{count:>10}" for count in NEURONS) + "\n")
    for name in columns[0]:
        sys.stdout.write(f"{name:<24}" + "".join(f"{one[name]:>10.2f}" for one in columns) + "\n")


if __name__ == "__main__":
    main()
