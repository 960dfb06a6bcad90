"""The bench's rows that need a CUDA device: production size, two claims on one, host spill."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from compute.proof.engine_torch import TorchEngine, best_engine, load_torch
from compute.proof.holder import Holder
from compute.proof.sizes import Sizes, blocks_for
from scripts.bench.proof_rows import Row

DEVICE = "cuda:0"
RUNS = 10
PRODUCTION_N = 16384
SMALL_MEMORY_BYTES = 24 * 10**9
"""Devices below this are measured at half of the production n."""
_SETTLE_S = 60.0
"""Time that two processes are given to load, before both start at once."""

NAMES = {
    "cuda_chain_s": "s",
    "cuda_sweep_s": "s",
    "cuda_total_s": "s",
    "cuda_tops": "TOPS",
    "cuda_share_of_int_mm": "share",
    "cuda_spread": "share",
    "cuda_two_claims_ratio": "ratio",
    "cuda_spill50_sweep_s": "s",
}
AIMS = {
    "cuda_chain_s": "<= 3",
    "cuda_sweep_s": "<= 0.4",
    "cuda_total_s": "<= 6",
    "cuda_share_of_int_mm": ">= 0.75",
    "cuda_two_claims_ratio": ">= 1.9",
}


def cuda_rows() -> Iterator[Row]:
    """Measure on the first CUDA device, or say that nothing was measured."""
    torch = load_torch()
    if torch is None or not torch.cuda.is_available():
        found: dict[str, float] = {}
    else:
        found = measure(torch)
    for name, unit in NAMES.items():
        yield Row(name, found.get(name), unit, RUNS if name in found else 0, AIMS.get(name, ""))


def measure(torch: Any) -> dict[str, float]:
    """Measure one device at production size."""
    engine = best_engine(torch, DEVICE)
    n = PRODUCTION_N if engine.memory_bytes >= SMALL_MEMORY_BYTES else PRODUCTION_N // 2
    sizes = Sizes(n, blocks_for(engine.memory_bytes, n), 1024)
    engine.allocate(sizes)
    runs = [_run(engine, sizes) for _ in range(RUNS + 1)][1:]
    chains, sweeps, totals = (sorted(column) for column in zip(*runs, strict=True))
    chain = chains[RUNS // 2]
    found = {
        "cuda_chain_s": chain,
        "cuda_sweep_s": sweeps[RUNS // 2],
        "cuda_total_s": totals[RUNS // 2],
        "cuda_tops": sizes.operations / chain / 1e12,
        "cuda_spread": chains[-1] / chains[0] - 1,
        "cuda_spill50_sweep_s": _spilled_sweep(torch, engine, n),
    }
    path = engine.path.removesuffix("-fused")
    fused = engine.path != path
    del engine
    torch.cuda.empty_cache()
    found["cuda_share_of_int_mm"] = found["cuda_tops"] / _bare_tops(torch, n)
    half = replace(sizes, blocks=max(2, sizes.blocks // 2 - 8))
    found["cuda_two_claims_ratio"] = _claims(2, path, fused, half) / _claims(1, path, fused, half)
    return found


def _run(engine: TorchEngine, sizes: Sizes) -> tuple[float, float, float]:
    holder, began = Holder(engine, sizes), time.perf_counter()
    holder.run(bytes(32), bytes(32))
    chained, sweeps = time.perf_counter(), []
    for index in range(2):
        start = time.perf_counter()
        holder.sweep(bytes([index] * 32))
        sweeps.append(time.perf_counter() - start)
    return chained - began, min(sweeps), time.perf_counter() - began


def _bare_tops(torch: Any, n: int, loops: int = 30) -> float:
    """Return the throughput of `_int_mm` alone, one whole block at a time."""
    left = torch.randint(-128, 128, (n, n), dtype=torch.int8, device=DEVICE)
    torch._int_mm(left, left.t())  # noqa: SLF001
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(loops):
        torch._int_mm(left, left.t())  # noqa: SLF001
    torch.cuda.synchronize()
    return 2 * n**3 * loops / (time.perf_counter() - began) / 1e12


def _spilled_sweep(torch: Any, engine: TorchEngine, n: int) -> float:
    """Return a sweep's time when every other block comes from pinned host memory."""
    host = torch.zeros((n, n), dtype=torch.int8, pin_memory=True)
    block, side = torch.empty_like(host, device=DEVICE), torch.cuda.Stream()
    began = time.perf_counter()
    for index, _ in enumerate(engine.sweep(bytes(32))):
        if index % 2:
            with torch.cuda.stream(side):
                block.copy_(host, non_blocking=True)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _claims(count: int, path: str, fused: bool, sizes: Sizes) -> float:
    """Return how long so many processes take for a chain each, on one device at once."""
    start = time.time() + _SETTLE_S
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_claim, path, fused, sizes, start) for _ in range(count)]
        return max(job.result() for job in jobs) - start


def _claim(path: str, fused: bool, sizes: Sizes, start: float) -> float:
    engine = TorchEngine(load_torch(), DEVICE, path, fused=fused)
    engine.allocate(sizes)
    holder = Holder(engine, sizes)
    time.sleep(max(0.0, start - time.time()))
    holder.run(bytes(32), bytes(32))
    return time.time()
