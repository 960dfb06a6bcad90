"""Measures the GPU proof: proving by path, checking in both modes, detection against theory.

Fixed inputs; a table on standard output; `--json FILE` writes the rows for a program. Checking is
measured as processor time of one worker with one BLAS thread, as in a validator's process pool.
Rows that need a CUDA device are marked as not measured where there is none.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from hashlib import shake_256
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compute.proof.engine import Engine
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.engine_torch import TorchEngine, load_torch
from compute.proof.holder import Holder
from compute.proof.opening import OpeningCheck, check_opening
from compute.proof.result import Reason
from compute.proof.sizes import LEAF_BYTES, LEAF_ROWS_B, Sizes, blocks_for
from compute.proof.slot import Slot
from compute.proof.trees import Tree, leaf_hashes
from compute.proof.verifier import draw_units
from compute.proof.wire import Mode, Opening, Unit, units_bytes
from scripts.bench.proof_cuda import cuda_rows
from scripts.bench.proof_rows import Row, print_table

WIDTHS = (1024, 2048, 4096, 8192, 16384)
KS = (1, 8, 32)
SWEEP_WIDTH = 1024
MEMORY_BYTES = 80 * 2**30
"""The device whose M the messages and trees are measured for: 80 GiB."""
MOST_BLOCKS = 2048
"""Blocks at widths that no such device would be asked for."""
SLOW_PATHS_UP_TO = 4096
"""Widest matrix for paths that take seconds a round here."""
RATES = (5, 10, 20, 50)
TRIALS = 200
OPENINGS = 20
"""Independent openings of each trial's commitment: they narrow the estimate, not the trial."""
AIMS = {
    "verify_f_ms_n8192_k32": "<= 15",
    "bytes_r_n8192_k32": "<= 750000",
    **{f"detect_skip{rate}_k32": "theory +- 0.03" for rate in RATES},
}


def entropy(label: str) -> Any:
    """Return a reproducible source of bytes."""
    counter = iter(range(1 << 60))
    return lambda size: shake_256(f"{label}/{next(counter)}".encode()).digest(size)


def production(n: int) -> Sizes:
    """Return the sizes whose messages and trees are measured."""
    return Sizes(n, min(MOST_BLOCKS, blocks_for(MEMORY_BYTES, n)), SWEEP_WIDTH)


class ProductionHolder(Holder):
    """A few real blocks in trees of production depth: the other leaves are made up.

    Openings in the real blocks then hold, and cost what they cost at production size.
    """

    def run(self, slot: bytes, sub: bytes) -> bytes:
        """Run the real blocks and commit as if there were more."""
        super().run(slot, sub)
        made_up = entropy("blocks")
        roots = [tree.root for tree in self._blocks]
        blocks = production(self.sizes.n).blocks
        self._top = Tree(roots + [made_up(32) for _ in range(blocks - len(roots))])
        return self._top.root

    def sweep(self, kappa: bytes) -> bytes:
        """Sweep the real blocks and commit as if there were more."""
        super().sweep(kappa)
        made, made_up = self.sweeps[-1], entropy("leaves")
        hashes = leaf_hashes(made.words, LEAF_BYTES)
        leaves = production(self.sizes.n).rows // LEAF_ROWS_B
        made.tree = Tree(hashes + [made_up(32) for _ in range(leaves - len(hashes))])
        return made.tree.root


def engines() -> Iterator[tuple[str, Engine]]:
    """Yield every CPU path by the name it has in the metrics."""
    torch = load_torch()
    if torch is not None:
        yield "i8", TorchEngine(torch, "cpu", "torch-cpu-i8")
        yield "f32", TorchEngine(torch, "cpu", "torch-cpu-f32")
    yield "numpy", NumpyEngine()


def proving_rows(widths: Sequence[int]) -> Iterator[Row]:
    """Measure a round, fold and tree included, by path."""
    for name, engine in engines():
        for n in widths:
            if name != "i8" and n > SLOW_PATHS_UP_TO:
                yield Row(f"prove_{name}_ms_per_round_n{n}", None, "ms", 0)
                continue
            rounds = 4 if n <= SLOW_PATHS_UP_TO else 1
            engine.allocate(Sizes(n, rounds + 1, SWEEP_WIDTH))
            yield Row(f"prove_{name}_ms_per_round_n{n}", round_ms(engine), "ms", rounds)


def round_ms(engine: Engine) -> float:
    """Return the median milliseconds from one block's folds to the next block's."""
    folds = engine.folds(bytes(32), bytes(32))
    next(folds)
    times, began = [], time.perf_counter()
    for _ in folds:
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    return 1000 * median(times)


class Opened:
    """An honest run of production depth that can be opened.

    Args:
        n: its width.
    """

    def __init__(self, n: int) -> None:
        _, engine = next(engines())
        self._real = Sizes(n, 4 if n <= SLOW_PATHS_UP_TO * 2 else 2, SWEEP_WIDTH)
        engine.allocate(self._real)
        self._holder = ProductionHolder(engine, self._real)
        self._slot = Slot.fresh(entropy("slot"))
        self._tables = self._slot.tables(n)
        self._sub = self._slot.sub("hotkey", "claim", 0)
        self._roots = self._holder.run(self._slot.seed, self._sub), self._holder.sweep(bytes(32))
        self._holder.sizes = production(n)

    def check(self, mode: Mode, units: int) -> OpeningCheck:
        """Open so many units and return the check of it."""
        n = self._real.n
        places = tuple(Unit(1 + i % (self._real.blocks - 1), i * 37 % n) for i in range(units))
        return OpeningCheck(
            sizes=self._holder.sizes,
            mode=mode,
            slot=self._slot.seed,
            sub=self._sub,
            root_a=self._roots[0],
            kappa=bytes(32),
            root_b=self._roots[1],
            units=places,
            reply=self._holder.open(Opening(mode, 0, places)),
            tables=self._tables if mode is Mode.FREIVALDS else None,
        )


def check_ms(check: OpeningCheck, repeats: int) -> tuple[float, bool]:
    """Return the median processor milliseconds of a check, and whether it passed."""
    passed = check_opening(check).reason is Reason.PASSED
    times = []
    for _ in range(repeats):
        began = time.process_time()
        check_opening(check)
        times.append(time.process_time() - began)
    return 1000 * median(times), passed


def slot_ms(n: int) -> float:
    """Return the processor milliseconds of a slot's set-up."""
    slot = Slot.fresh(entropy("slot"))
    slot.tables(n)
    began = time.process_time()
    slot.tables(n)
    return 1000 * (time.process_time() - began)


def checking_rows(pool: ProcessPoolExecutor, widths: Sequence[int]) -> Iterator[Row]:
    """Measure checks, messages and a slot's set-up."""
    for n in widths:
        yield Row(f"slot_ms_n{n}", pool.submit(slot_ms, n).result(), "ms", 1)
        run = Opened(n)
        for k, mode in itertools.product(KS, Mode):
            check = run.check(mode, k)
            letter = "f" if mode is Mode.FREIVALDS else "r"
            repeats = 21 if mode is Mode.FREIVALDS else 5
            value, passed = pool.submit(check_ms, check, repeats).result()
            if not passed:
                raise SystemExit(f"an honest opening failed at n = {n}")
            yield Row(f"verify_{letter}_ms_n{n}_k{k}", value, "ms", repeats)
            size = units_bytes(check.sizes, mode, k)
            yield Row(f"bytes_{letter}_n{n}_k{k}", size, "bytes", 1)


class Skipping(NumpyEngine):
    """Skips a share of each block's rows."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__()
        self._share = share
        self._dice = np.random.default_rng(seed)

    def round(self, j: int, folds: Any, mu: Any, nu: Any) -> None:
        """Compute the round and spoil the skipped rows."""
        super().round(j, folds, mu, nu)
        n = self.sizes.n
        skipped = self._dice.permutation(n)[: round(self._share * n)]
        self._history[j * n + skipped] = self._history[(j - 1) * n + skipped]


def detected(rate: int, seed: int) -> float:
    """Return the share of openings of one cheating run that are found out."""
    sizes = Sizes(256, 5, 64)
    draw = entropy(f"{rate}/{seed}")
    slot = Slot.fresh(draw)
    sub, kappa = slot.sub("hotkey", "claim", 0), draw(32)
    engine = Skipping(rate / 100, seed)
    engine.allocate(sizes)
    holder = Holder(engine, sizes)
    root_a, root_b = holder.run(slot.seed, sub), holder.sweep(kappa)
    tables, found = slot.tables(sizes.n), 0
    for _ in range(OPENINGS):
        units = draw_units(sizes, 32, draw)
        reply = holder.open(Opening(Mode.FREIVALDS, 0, units))
        check = OpeningCheck(
            sizes, Mode.FREIVALDS, slot.seed, sub, root_a, kappa, root_b, units, reply, tables
        )
        found += check_opening(check).reason is Reason.ROUND
    return found / OPENINGS


def detection_rows(trials: int) -> Iterator[Row]:
    """Compare detection of skipped rows with theory."""
    for rate in RATES:
        shares = [detected(rate, seed) for seed in range(trials)]
        yield Row(f"detect_skip{rate}_k32", sum(shares) / trials, "share", trials)
        yield Row(f"theory_skip{rate}_k32", 1 - (1 - rate / 100) ** 32, "share", 0)


def machine() -> dict[str, Any]:
    """Describe this machine."""
    torch = load_torch()
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    cuda = torch is not None and torch.cuda.is_available()
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__ if torch is not None else None,
        "gpu": torch.cuda.get_device_name(0) if cuda else None,
    }


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Let processes that are started meanwhile use one BLAS thread each."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def all_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure everything."""
    widths = [n for n in WIDTHS if n <= options.max_n]
    with single_threaded(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield from checking_rows(pool, widths)
    yield from detection_rows(options.trials)
    yield from proving_rows(widths)
    yield from cuda_rows()


def with_aims(rows: Iterable[Row]) -> Iterator[Row]:
    """Put the aim beside each row that has one."""
    for row in rows:
        yield Row(**{**asdict(row), "reference": AIMS.get(row.metric, row.reference)})


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="scripts/bench/proof", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--max-n", type=int, default=WIDTHS[-1], help="widest matrix to measure")
    parser.add_argument("--trials", type=int, default=TRIALS, help="cheating runs for each rate")
    options = parser.parse_args()
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    rows = list(print_table(with_aims(all_rows(options))))
    if options.json:
        report = {"name": "proof", "machine": described, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
