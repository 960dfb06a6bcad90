"""The arithmetic of the chain and of the sweep, row by row, as both sides compute it.

Everything here is modulo 2^32 on uint32 words; see docs/proof.md for the formulas.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compute.proof import prf
from compute.proof.exact import product
from compute.proof.sizes import FOLD_WORDS, SWEEP_WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSITIVE = np.uint32(0x7FFFFFFF)


class SlotKeys(NamedTuple):
    """The streams that all GPUs of a slot share."""

    product: prf.Key
    fold: prf.Key
    multiplier: prf.Key

    @classmethod
    def of(cls, slot: bytes, n: int) -> SlotKeys:
        """Derive the streams of B, K and mu."""
        return cls(*(prf.derive(slot, label, n) for label in ("B", "K", "mu")))


class SubKeys(NamedTuple):
    """The streams of one GPU."""

    start: prf.Key
    offset: prf.Key

    @classmethod
    def of(cls, sub: bytes, n: int) -> SubKeys:
        """Derive the streams of V_0 and nu."""
        return cls(*(prf.derive(sub, label, n) for label in ("V0", "nu")))


class SweepKeys(NamedTuple):
    """The streams of one sweep."""

    product: prf.Key
    multiplier: prf.Key
    fold: prf.Key

    @classmethod
    def of(cls, kappa: bytes, n: int) -> SweepKeys:
        """Derive the streams of K_κ, μ' and K''."""
        return cls(*(prf.derive(kappa, label, n) for label in ("sweep", "mu", "fold")))


@lru_cache(maxsize=8)
def fold_matrix(slot: bytes, n: int) -> NDArray[np.float32]:
    """Return K's transpose, float32 [8, n]."""
    return prf.matrix(SlotKeys.of(slot, n).fold, FOLD_WORDS, n).astype(np.float32)


def fold(rows: NDArray[np.float32], fold_t: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Fold rows of a block, float32 [rows, n], into uint32 [rows, 8]."""
    return product(rows, fold_t).view(np.uint32)


def reach(
    folds: NDArray[np.uint32], rounds: NDArray[np.uint32], rows: NDArray[np.uint32], n: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Compute where each row reaches into the history.

    Args:
        folds: D_{j-1} of the rows, [count, 8].
        rounds: j of each, [count].
        rows: r of each, [count].
        n: rows of a block.

    Returns:
        s (block, below j) and t (row, below n) of each.
    """
    spread = rounds * np.uint32(prf.GOLDEN) + rows * np.uint32(prf.LOWBIAS)
    a = prf.mix_b(prf.mix_a(folds[:, 0] + spread) ^ folds[:, 1])
    b = prf.mix_a((a ^ folds[:, 2]) + rows)
    return (a & _POSITIVE) % rounds, (b & _POSITIVE) % np.uint32(n)


def multipliers(slot: bytes, n: int, j: int) -> NDArray[np.uint32]:
    """Return mu_j, odd, [n]."""
    return prf.words(SlotKeys.of(slot, n).multiplier, j * n, n) | np.uint32(1)


def offsets(sub: bytes, n: int, j: int) -> NDArray[np.uint32]:
    """Return nu_j, [n]."""
    return prf.words(SubKeys.of(sub, n).offset, j * n, n)


def top_bytes(
    products: NDArray[np.int32], mu: NDArray[np.uint32], nu: NDArray[np.uint32] | None = None
) -> NDArray[np.int8]:
    """Return the top byte of `products · mu + nu`, int8 [rows, columns].

    Args:
        products: [rows, columns].
        mu: one multiplier a column, [columns] or [rows, columns].
        nu: one offset a row, [rows].
    """
    mixed = np.multiply(products.view(np.uint32), mu)
    if nu is not None:
        mixed += nu[:, None]
    mixed >>= np.uint32(24)
    return mixed.astype(np.uint8).view(np.int8)


class SweepTables(NamedTuple):
    """What a sweep multiplies by, as float32.

    Attributes:
        product_t: K_κ's transpose, [Ns, n].
        mu: μ', uint32 [Ns].
        fold_t: the first two columns of K'', transposed, [2, Ns].
    """

    product_t: NDArray[np.float32]
    mu: NDArray[np.uint32]
    fold_t: NDArray[np.float32]


def sweep_tables(kappa: bytes, n: int, width: int) -> SweepTables:
    """Derive a sweep's tables; only two of the eight columns of K'' are ever used."""
    keys = SweepKeys.of(kappa, n)
    return SweepTables(
        prf.matrix(keys.product, width, n).astype(np.float32),
        prf.words(keys.multiplier, 0, width) | np.uint32(1),
        prf.matrix(keys.fold, SWEEP_WORDS, width).astype(np.float32),
    )


def sweep_words(rows: NDArray[np.float32], tables: SweepTables) -> NDArray[np.uint32]:
    """Return Y of rows of the history, float32 [rows, n], as uint32 [rows, 2]."""
    z = top_bytes(product(rows, tables.product_t), tables.mu)
    return product(z.astype(np.float32), tables.fold_t).view(np.uint32)
