"""Keeps a number of requests in flight for a while, and says how it went. Nobody's own code.

Both sides of the comparison load this file, the peer's in its own environment: it needs the
standard library alone.
"""

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles

Call = Callable[[int], Awaitable[bool]]
"""Make one request as the n-th of those in flight; False when it failed."""
PAYLOAD = "x" * 1000  # with its JSON around it a body of about 1 KB
_WARM_S = 0.5


async def load(call: Call, in_flight: int, seconds: float) -> dict[str, float]:
    """Keep requests in flight; the first half second does not count.

    Returns:
        Requests that succeeded a second (`rps`), latencies in milliseconds (`p50_ms`, `p99_ms`) of
        the `n` that began in that time, how many `failed`, and this process's peak memory
        (`rss_mib`).
    """
    begins = time.perf_counter() + _WARM_S
    ends = begins + seconds
    took_ms: list[float] = []
    failed = completed = 0

    async def keep(number: int) -> None:
        nonlocal failed, completed
        while (started := time.perf_counter()) < ends:
            good = await call(number)
            done = time.perf_counter()
            failed += not good
            completed += good and begins <= done <= ends
            if good and started >= begins:
                took_ms.append(1000 * (done - started))

    await asyncio.gather(*(keep(number) for number in range(in_flight)))
    percentiles = quantiles(took_ms, n=100) if len(took_ms) > 1 else [float("nan")] * 99
    return {
        "rps": completed / seconds,
        "p50_ms": percentiles[49],
        "p99_ms": percentiles[98],
        "failed": failed,
        "n": len(took_ms),
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def say(figures: object) -> None:
    """Tell the bench, as one line of JSON."""
    print(json.dumps(figures), flush=True)
