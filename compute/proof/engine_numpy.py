"""The chain on a CPU with NumPy alone: the fallback, and the reference for every other path."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compute.proof import chain, prf
from compute.proof.engine import EngineUnfit
from compute.proof.exact import product
from compute.proof.wire import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compute.proof.sizes import Sizes

_PANEL_BYTES = 64 << 20
"""Memory of one float32 or int32 panel; a few live at a time."""

_MEMORY_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def available_memory() -> int:
    """Return the bytes that this process may still take, by the kernel and its control group."""
    figures = [_available_by_kernel()]
    for name in _MEMORY_LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            figures.append(int(text))
    return min(figures)


def _available_by_kernel() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields.get("MemAvailable", "0 kB").split()[0]) * 1024


def panel_bytes(sizes: Sizes, most: int) -> int:
    """Return the memory of one panel of 32-bit words, `most` at most."""
    return min(most, 4 * sizes.n * max(sizes.n, sizes.sweep_width))


def host_bytes(sizes: Sizes) -> int:
    """Return the host memory that commitments take: folds, sweep words and both trees."""
    return sizes.rows * (32 + 2 * 8) + sizes.rows * 8


class NumpyEngine:
    """Runs the chain with exact float32 GEMM; see `Engine`."""

    path = "numpy-f32"

    def __init__(self) -> None:
        self.device = f"CPU {platform.machine()}"
        self.memory_bytes = available_memory()
        self._sizes: Sizes | None = None
        self._history = np.empty((0, 0), np.int8)
        self._factor_t = np.empty((0, 0), np.float32)

    @property
    def sizes(self) -> Sizes:
        """The sizes that were allocated."""
        if self._sizes is None:
            raise EngineUnfit(Status.SIZES, "nothing has been allocated")
        return self._sizes

    def allocate(self, sizes: Sizes) -> None:
        """Take the history and B; see `Engine.allocate`."""
        beside = 5 * sizes.n**2 + 4 * sizes.n * sizes.sweep_width
        beside += 4 * panel_bytes(sizes, _PANEL_BYTES) + host_bytes(sizes)
        needed = sizes.history_bytes + beside
        if needed > self.memory_bytes:
            raise EngineUnfit(Status.NO_MEMORY, f"needs {needed} bytes")
        self._sizes = sizes
        self._history = np.zeros((sizes.rows, sizes.n), np.int8)

    def folds(self, slot: bytes, sub: bytes) -> Iterator[NDArray[np.uint32]]:
        """Run the chain; see `Engine.folds`."""
        n = self.sizes.n
        keys = chain.SlotKeys.of(slot, n)
        self._factor_t = prf.matrix(keys.product, n, n).astype(np.float32)
        fold_t = chain.fold_matrix(slot, n)
        self._history[:n] = prf.matrix(chain.SubKeys.of(sub, n).start, n, n)
        folds = self._fold_block(0, fold_t)
        yield folds
        for j in range(1, self.sizes.blocks):
            self.round(j, folds, chain.multipliers(slot, n, j), chain.offsets(sub, n, j))
            folds = self._fold_block(j, fold_t)
            yield folds

    def round(
        self,
        j: int,
        folds: NDArray[np.uint32],
        mu: NDArray[np.uint32],
        nu: NDArray[np.uint32],
    ) -> None:
        """Compute block j from block j-1 and its folds, [n, 8]."""
        n = self.sizes.n
        blocks, rows = chain.reach(
            folds, np.full(n, j, np.uint32), np.arange(n, dtype=np.uint32), n
        )
        places = blocks.astype(np.int64) * n + rows
        for panel in self._panels(n):
            previous = self._history[(j - 1) * n + panel.start : (j - 1) * n + panel.stop]
            mixed = previous ^ self._history[places[panel]]
            block = self._history[j * n + panel.start : j * n + panel.stop]
            block[:] = chain.top_bytes(self.products(mixed), mu, nu[panel])

    def sweep(self, kappa: bytes) -> Iterator[NDArray[np.uint32]]:
        """Sweep the memory; see `Engine.sweep`."""
        sizes = self.sizes
        tables = chain.sweep_tables(kappa, sizes.n, sizes.sweep_width)
        for j in range(sizes.blocks):
            words = [
                chain.sweep_words(self._floats(j, panel), tables) for panel in self._panels(sizes.n)
            ]
            yield np.concatenate(words)

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int8]:
        """Read rows of the history; see `Engine.rows`."""
        return self._history[places]

    def products(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        """Multiply by B; see `Engine.products`."""
        return product(rows.astype(np.float32), self._factor_t)

    def _fold_block(self, j: int, fold_t: NDArray[np.float32]) -> NDArray[np.uint32]:
        folds = [chain.fold(self._floats(j, panel), fold_t) for panel in self._panels(self.sizes.n)]
        return np.concatenate(folds)

    def _floats(self, j: int, panel: slice) -> NDArray[np.float32]:
        first = j * self.sizes.n
        return self._history[first + panel.start : first + panel.stop].astype(np.float32)

    def _panels(self, n: int) -> list[slice]:
        step = max(1, _PANEL_BYTES // (4 * max(n, self.sizes.sweep_width)))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]
