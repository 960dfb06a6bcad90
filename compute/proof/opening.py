"""Checking one GPU's opening: a pure function of bytes, made for a process pool."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compute.proof import chain, prf
from compute.proof.exact import CHUNK, product
from compute.proof.result import Reason, Verdict
from compute.proof.sizes import (
    FOLD_WORDS,
    LEAF_BYTES,
    LEAF_ROWS_A,
    LEAF_ROWS_B,
    SWEEP_WORDS,
    Sizes,
)
from compute.proof.slot import SlotTables
from compute.proof.trees import climb
from compute.proof.wire import Mode, Unit, unit_dtype, units_bytes

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

_PANEL_ROWS = 128
"""Rows of a generated matrix worked on at a time: 4 MiB of float32 at n = 8192."""
_TILE = (16, CHUNK)
"""Rows and inner length of a tile; the length keeps its sums exact in float32."""


@dataclass(frozen=True, slots=True)
class OpeningCheck:
    """All that it takes to check one GPU's opening; it can be pickled.

    Attributes:
        sizes: what the GPU was asked to do.
        mode: how the row of C is obtained.
        slot: the slot's seed.
        sub: the GPU's seed.
        root_a: commitment to the history.
        kappa: seed of the sweep that counts.
        root_b: that sweep's commitment.
        units: the places that were asked for.
        reply: the payload of UNITS.
        tables: the slot's secret projection; needed in mode F only.
    """

    sizes: Sizes
    mode: Mode
    slot: bytes
    sub: bytes
    root_a: bytes
    kappa: bytes
    root_b: bytes
    units: tuple[Unit, ...]
    reply: bytes = field(repr=False)
    tables: SlotTables | None = field(default=None, repr=False)


def check_opening(check: OpeningCheck) -> Verdict:
    """Check every unit; the first check that any unit fails gives the verdict."""
    if len(check.reply) != units_bytes(check.sizes, check.mode, len(check.units)):
        return Verdict(Reason.MALFORMED)
    for reason, holds in _Opened(check).stages():
        if not holds.all():
            return Verdict(reason, int(np.argmin(holds)))
    return Verdict(Reason.PASSED)


class _Opened:
    """An opening under check, all units at once."""

    def __init__(self, check: OpeningCheck) -> None:
        self._check = check
        self._n = check.sizes.n
        self._record = np.frombuffer(check.reply, unit_dtype(check.sizes, check.mode))
        self._j = np.array([unit.j for unit in check.units], np.int64)
        self._r = np.array([unit.r for unit in check.units], np.int64)
        self._fold_t = chain.fold_matrix(check.slot, self._n)

    def stages(self) -> Iterator[tuple[Reason, Flags]]:
        """Yield each check with the units that pass it, cheap ones first where order allows."""
        j, r, record = self._j, self._r, self._record
        yield Reason.PATH, self._fold_path("previous", j - 1, r)
        yield Reason.FOLD, self._folds_match("previous", r, record["previous"])
        s, t = self._reach()
        yield Reason.PATH, self._fold_path("reached", s, t)
        yield Reason.FOLD, self._folds_match("reached", t, record["reached"])
        yield Reason.SEED, self._seeded(j - 1, r, record["previous"])
        yield Reason.SEED, self._seeded(s, t, record["reached"])
        yield Reason.PATH, self._fold_path("unit", j, r)
        mixed = (record["previous"] ^ record["reached"]).astype(np.float32)
        if self._check.mode == Mode.FREIVALDS:
            yield Reason.PRODUCT, self._product_holds(mixed)
        row = self._round(mixed)
        yield Reason.ROUND, self._folds_match("unit", r, row)
        yield Reason.SWEEP_PATH, self._sweep_path(j * self._n + r)
        yield Reason.SWEEP, self._sweep_words_match(j * self._n + r, row)

    def _fold_path(self, which: str, block: Places, row: Places) -> Flags:
        depth = self._check.sizes.block_depth
        leaf = row // LEAF_ROWS_A
        return self._climb(which, (block << depth) + leaf, self._check.root_a)

    def _sweep_path(self, place: Places) -> Flags:
        return self._climb("sweep", place // LEAF_ROWS_B, self._check.root_b)

    def _climb(self, which: str, index: Places, root: bytes) -> Flags:
        leaves = self._record[f"leaf_{which}"].tobytes()
        paths = self._record[f"path_{which}"].tobytes()
        size = len(paths) // len(index)
        return np.array(
            [
                climb(leaves[i * LEAF_BYTES : (i + 1) * LEAF_BYTES], at, paths[i * size :][:size])
                == root
                for i, at in enumerate(index.tolist())
            ]
        )

    def _committed(self, which: str, place: Places, rows: int, words: int) -> NDArray[np.uint32]:
        """Return the committed words of each unit's row, [count, words]."""
        leaves = np.ascontiguousarray(self._record[f"leaf_{which}"]).view("<u4")
        inside = leaves.reshape(len(place), rows, words)
        return inside[np.arange(len(place)), place % rows].astype(np.uint32)

    def _folds_match(self, which: str, row: Places, content: NDArray[np.int8]) -> Flags:
        committed = self._committed(which, row, LEAF_ROWS_A, FOLD_WORDS)
        folds = chain.fold(content.astype(np.float32), self._fold_t)
        return _same_rows(folds, committed)

    def _reach(self) -> tuple[Places, Places]:
        folds = self._committed("previous", self._r, LEAF_ROWS_A, FOLD_WORDS)
        j, r = self._j.astype(np.uint32), self._r.astype(np.uint32)
        s, t = chain.reach(folds, j, r, self._n)
        return s.astype(np.int64), t.astype(np.int64)

    def _seeded(self, block: Places, row: Places, content: NDArray[np.int8]) -> Flags:
        key = chain.SubKeys.of(self._check.sub, self._n).start
        holds = np.ones(len(block), np.bool_)
        seeded = np.flatnonzero(block == 0)
        words = prf.runs(key, (row[seeded] * (self._n // 4)).tolist(), self._n // 4)
        holds[seeded] = _same_rows(content[seeded], words.astype("<u4").view(np.int8))
        return holds

    def _product_holds(self, mixed: NDArray[np.float32]) -> Flags:
        """Check c·W = x·(B·W) over the integers, where every sum stays within 2^53.

        It must not be done modulo 2^32: an error of 2^31 would pass a column half of the time.
        """
        tables = self._check.tables
        if tables is None or tables.n != self._n:
            raise ValueError("mode F needs the slot's tables for this n")
        left = self._record["product"].astype(np.float64) @ tables.weights
        return _same_rows(left, mixed.astype(np.float64) @ tables.projected)

    def _round(self, mixed: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return V_j[r] of each unit, [count, n]."""
        if self._check.mode == Mode.FREIVALDS:
            products = self._record["product"].astype(np.int32)
        else:
            products = self._multiply(mixed, chain.SlotKeys.of(self._check.slot, self._n).product)
        multiplier = chain.SlotKeys.of(self._check.slot, self._n).multiplier
        offset = chain.SubKeys.of(self._check.sub, self._n).offset
        mu = prf.runs(multiplier, (self._j * self._n).tolist(), self._n) | np.uint32(1)
        nu = prf.runs(offset, (self._j * self._n + self._r).tolist(), 1)[:, 0]
        return chain.top_bytes(products, mu, nu)

    def _multiply(self, rows: NDArray[np.float32], key: prf.Key) -> NDArray[np.int32]:
        """Multiply rows by B, generated a panel at a time."""
        return _by_panels(
            rows, self._n, lambda first, count: prf.matrix(key, count, self._n, first)
        )

    def _sweep_words_match(self, place: Places, row: NDArray[np.int8]) -> Flags:
        check = self._check
        width = check.sizes.sweep_width
        keys = chain.SweepKeys.of(check.kappa, self._n)
        z = chain.top_bytes(
            _by_panels(
                row.astype(np.float32),
                width,
                lambda first, count: prf.matrix(keys.product, count, self._n, first),
            ),
            prf.words(keys.multiplier, 0, width) | np.uint32(1),
        )
        fold_t = prf.matrix(keys.fold, SWEEP_WORDS, width).astype(np.float32)
        words = product(z.astype(np.float32), fold_t).view(np.uint32)
        return _same_rows(words, self._committed("sweep", place, LEAF_ROWS_B, SWEEP_WORDS))


def _by_panels(
    rows: NDArray[np.float32], columns: int, panel: Callable[[int, int], NDArray[np.int8]]
) -> NDArray[np.int32]:
    """Multiply rows by a matrix whose transpose comes in panels of rows."""
    out = np.empty((columns, len(rows)), np.int32)
    floats = np.empty((min(_PANEL_ROWS, columns), rows.shape[1]), np.float32)
    rows_t = np.ascontiguousarray(rows.T)
    for first in range(0, columns, _PANEL_ROWS):
        count = min(_PANEL_ROWS, columns - first)
        floats[:count] = panel(first, count)
        out[first : first + count] = _tiled_product(floats[:count], rows_t)
    return np.ascontiguousarray(out.T)


def _tiled_product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
    """Multiply exactly in tiles so small that BLAS does not copy its factors first.

    The left factor is used once, so that copying it would cost as much as multiplying by it.
    """
    (count, inner), (height, width) = left.shape, _TILE
    if count % height or inner % width:
        return product(left, right.T)
    tiles = left.reshape(count // height, height, inner // width, width).transpose(0, 2, 1, 3)
    parts = np.matmul(tiles, right.reshape(inner // width, width, -1))
    total: NDArray[Any] = parts.sum(axis=1, dtype=np.float64).reshape(count, -1)
    return total


def _same_rows(left: NDArray[Any], right: NDArray[Any]) -> Flags:
    same: Flags = (left == right).all(axis=1)
    return same
