"""Checking one GPU's opening: a pure function of bytes, made for a process pool."""

import math
from collections.abc import Iterator
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

_PANEL_ROWS = 32
"""Rows of a generated matrix worked on at a time: 1 MiB of float32 at n = 8192, kept in cache."""
_GROUP = 8
"""Units worked on at a time where whole rows are widened, so that memory is reused."""
_TILE = (32, CHUNK // 2)
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
        left = _widened_product(self._record["product"], tables.weights)
        return _same_rows(left, _widened_product(mixed, tables.projected))

    def _round(self, mixed: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return V_j[r] of each unit, [count, n]."""
        if self._check.mode == Mode.FREIVALDS:
            products = self._record["product"].astype(np.int32, copy=False)
        else:
            key = chain.SlotKeys.of(self._check.slot, self._n).product
            products = _generated_product(mixed, key, self._n)
        multiplier = chain.SlotKeys.of(self._check.slot, self._n).multiplier
        offset = chain.SubKeys.of(self._check.sub, self._n).offset
        nu = prf.runs(offset, (self._j * self._n + self._r).tolist(), 1)[:, 0]
        row = np.empty(products.shape, np.int8)
        for start in range(0, len(row), _GROUP):
            part = slice(start, start + _GROUP)
            mu = prf.runs(multiplier, (self._j[part] * self._n).tolist(), self._n)
            mu |= np.uint32(1)
            row[part] = chain.top_bytes(products[part], mu, nu[part])
        return row

    def _sweep_words_match(self, place: Places, row: NDArray[np.int8]) -> Flags:
        check = self._check
        width = check.sizes.sweep_width
        keys = chain.SweepKeys.of(check.kappa, self._n)
        z = chain.top_bytes(
            _generated_product(row.astype(np.float32), keys.product, width),
            prf.words(keys.multiplier, 0, width) | np.uint32(1),
        )
        fold_t = prf.matrix(keys.fold, SWEEP_WORDS, width).astype(np.float32)
        words = product(z.astype(np.float32), fold_t).view(np.uint32)
        return _same_rows(words, self._committed("sweep", place, LEAF_ROWS_B, SWEEP_WORDS))


def _generated_product(rows: NDArray[np.float32], key: prf.Key, columns: int) -> NDArray[np.int32]:
    """Multiply rows by a matrix of so many columns whose transpose is a stream's bytes."""
    inner = rows.shape[1]
    count = math.gcd(_PANEL_ROWS, columns)
    words = np.empty(count * inner // 4, np.uint32)
    scratch = prf.scratch_for(words.size)
    floats = np.empty((count, inner), np.float32)
    rows_t = np.empty((inner, len(rows)), np.float32)
    for index, row in enumerate(rows):  # twice as fast as one transposed copy
        rows_t[:, index] = row
    out = np.empty((columns, len(rows)), np.int32)
    for first in range(0, columns, count):
        prf.fill(words, key, first * inner // 4, scratch)
        floats[:] = words.astype("<u4", copy=False).view(np.int8).reshape(count, inner)
        out[first : first + count] = _tiled_product(floats, rows_t)
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


def _widened_product(rows: NDArray[Any], factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply rows, widened to float64, by a narrow factor."""
    parts = [
        rows[start : start + _GROUP].astype(np.float64) @ factor
        for start in range(0, len(rows), _GROUP)
    ]
    return np.concatenate(parts)


def _same_rows(left: NDArray[Any], right: NDArray[Any]) -> Flags:
    same: Flags = (left == right).all(axis=1)
    return same
