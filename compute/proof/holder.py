"""The host's half of a prover: it commits to what the device computes, and opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compute.proof import chain
from compute.proof.sizes import LEAF_BYTES, LEAF_ROWS_A, LEAF_ROWS_B
from compute.proof.trees import Tree, leaf_hashes
from compute.proof.wire import Mode, Opening, unit_dtype

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from compute.proof.engine import Engine
    from compute.proof.sizes import Sizes


class Holder:
    """One GPU's run: its commitments, kept so that any unit can be opened.

    Args:
        engine: the device, already allocated for `sizes`.
        sizes: the run's sizes.
    """

    def __init__(self, engine: Engine, sizes: Sizes) -> None:
        self.engine = engine
        self.sizes = sizes
        self.sweeps: list[_Sweep] = []
        self._folds: list[bytes] = []
        self._blocks: list[Tree] = []
        self._top: Tree | None = None

    def run(self, slot: bytes, sub: bytes) -> bytes:
        """Run the chain and return root_A."""
        self._folds, self._blocks, self.sweeps = [], [], []
        for folds in self.engine.folds(slot, sub):
            data = folds.astype("<u4", copy=False).tobytes()
            self._folds.append(data)
            self._blocks.append(Tree(leaf_hashes(data, LEAF_BYTES)))
        self._top = Tree([tree.root for tree in self._blocks])
        return self._top.root

    def sweep(self, kappa: bytes) -> bytes:
        """Sweep the memory and return root_B; leaves are hashed while the device runs ahead."""
        data, hashes, hashed = bytearray(), [], 0
        for words in self.engine.sweep(kappa):
            data += words.astype("<u4", copy=False).tobytes()
            whole = len(data) - len(data) % LEAF_BYTES
            hashes += leaf_hashes(bytes(data[hashed:whole]), LEAF_BYTES)
            hashed = whole
        hashes += leaf_hashes(bytes(data[hashed:]), LEAF_BYTES)
        self.sweeps.append(_Sweep(bytes(data), Tree(hashes)))
        return self.sweeps[-1].tree.root

    def open(self, request: Opening) -> bytes:
        """Open units: records of `unit_dtype`, joined."""
        n = self.sizes.n
        j = np.array([unit.j for unit in request.units], np.int64)
        r = np.array([unit.r for unit in request.units], np.int64)
        s, t = self._reach(j, r)
        record = np.zeros(len(request.units), unit_dtype(self.sizes, request.mode))
        record["previous"] = self.engine.rows((j - 1) * n + r)
        record["reached"] = self.engine.rows(s * n + t)
        for index in range(len(request.units)):
            self._fill_fold(record[index], "previous", int(j[index]) - 1, int(r[index]))
            self._fill_fold(record[index], "reached", int(s[index]), int(t[index]))
            self._fill_fold(record[index], "unit", int(j[index]), int(r[index]))
            self._fill_sweep(record[index], request.sweep, int(j[index] * n + r[index]))
        if request.mode == Mode.FREIVALDS:
            record["product"] = self.engine.products(record["previous"] ^ record["reached"])
        return record.tobytes()

    def _reach(
        self, j: NDArray[np.int64], r: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        folds = np.stack(
            [
                np.frombuffer(self._folds[block - 1], "<u4", 8, row * 32)
                for block, row in np.stack([j, r], axis=1).tolist()
            ]
        ).astype(np.uint32)
        s, t = chain.reach(folds, j.astype(np.uint32), r.astype(np.uint32), self.sizes.n)
        return s.astype(np.int64), t.astype(np.int64)

    def _fill_fold(self, record: Any, which: str, block: int, row: int) -> None:
        leaf = row // LEAF_ROWS_A
        data = self._folds[block][leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES]
        top = self._top.path(block) if self._top else b""
        _fill(record, which, data, self._blocks[block].path(leaf) + top)

    def _fill_sweep(self, record: Any, sweep: int, place: int) -> None:
        leaf = place // LEAF_ROWS_B
        made = self.sweeps[sweep]
        data = made.words[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES]
        _fill(record, "sweep", data, made.tree.path(leaf))


class _Sweep:
    """The words of one sweep and their tree."""

    def __init__(self, words: bytes, tree: Tree) -> None:
        self.words = words
        self.tree = tree


def _fill(record: Any, which: str, leaf: bytes, path: bytes) -> None:
    record[f"leaf_{which}"] = np.frombuffer(leaf, np.uint8)
    record[f"path_{which}"] = np.frombuffer(path, np.uint8)
