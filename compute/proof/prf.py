"""The pseudo-random words and matrices that both sides derive from a seed.

It is a pair of 32-bit finalisers (Murmur3's and Wellons' lowbias32) keyed by BLAKE2b: cheap on
every device, free of structure that linear algebra could use, and addressable at any position.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rounds = tuple[tuple[int, int | None], ...]

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B1
"""The odd number that spreads consecutive positions over the 32-bit space."""
LOWBIAS = 0x7FEB352D
"""First multiplier of mixB; the chain also spreads its row numbers with it."""

MIX_A = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None))
"""Shifts and multipliers of mixA."""
MIX_B = ((16, LOWBIAS), (15, 0x846CA68B), (16, None))
"""Shifts and multipliers of mixB."""

_CHUNK_WORDS = 1 << 16
"""Words worked on at a time: a few such buffers stay in a core's second-level cache."""


class Key(NamedTuple):
    """The two words that select one stream."""

    k0: int
    k1: int


def derive(seed: bytes, *labels: object) -> Key:
    """Derive a stream's key: BLAKE2b-64 of `seed|label|…`, read as two little-endian words."""
    text = b"|".join([seed, *(str(label).encode("ascii") for label in labels)])
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return Key(int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))


def _mix(x: NDArray[np.uint32], rounds: Rounds, scratch: NDArray[np.uint32]) -> None:
    """Apply xor-shift and multiply rounds to `x` in place."""
    for shift, multiplier in rounds:
        np.right_shift(x, np.uint32(shift), out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        if multiplier is not None:
            np.multiply(x, np.uint32(multiplier), out=x)


def _finish(x: NDArray[np.uint32], key: Key, scratch: NDArray[np.uint32]) -> None:
    """Turn spread positions into words, in place."""
    _mix(x, MIX_A, scratch)
    np.add(x, np.uint32(key.k1), out=x)
    _mix(x, MIX_B, scratch)


def mix_a(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Apply mixA to each word of a copy of `x`."""
    out = x.astype(np.uint32)
    _mix(out, MIX_A, np.empty_like(out))
    return out


def mix_b(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Apply mixB to each word of a copy of `x`."""
    out = x.astype(np.uint32)
    _mix(out, MIX_B, np.empty_like(out))
    return out


@lru_cache(maxsize=1)
def _steps() -> NDArray[np.uint32]:
    return np.arange(_CHUNK_WORDS, dtype=np.uint32) * np.uint32(GOLDEN)


def words(key: Key, first: int, count: int) -> NDArray[np.uint32]:
    """Return the words at positions `first` to `first + count - 1`: uint32 [count]."""
    out = np.empty(count, np.uint32)
    fill(out, key, first, scratch_for(count))
    return out


def scratch_for(count: int) -> NDArray[np.uint32]:
    """Return working memory for `fill`, to be used by one thread at a time."""
    return np.empty(min(count, _CHUNK_WORDS), np.uint32)


def fill(out: NDArray[np.uint32], key: Key, first: int, scratch: NDArray[np.uint32]) -> None:
    """Fill `out`, [count], with the words from position `first` on."""
    for start in range(0, out.size, _CHUNK_WORDS):
        part = out[start : start + _CHUNK_WORDS]
        offset = np.uint32(((first + start) * GOLDEN + key.k0) & MASK)
        np.add(_steps()[: part.size], offset, out=part)
        _finish(part, key, scratch[: part.size])


def runs(key: Key, firsts: Sequence[int], count: int) -> NDArray[np.uint32]:
    """Return runs of `count` words that begin at each of `firsts`: uint32 [len(firsts), count].

    It is `words` for many short runs at once; `count` is at most 2^16.
    """
    starts = np.array([(first * GOLDEN + key.k0) & MASK for first in firsts], np.uint32)
    out = np.empty((len(firsts), count), np.uint32)
    group = max(1, _CHUNK_WORDS // count)
    for at in range(0, len(firsts), group):
        part = out[at : at + group]
        np.add(starts[at : at + group, None], _steps()[:count], out=part)
        _finish(part, key, np.empty_like(part))
    return out


def matrix(key: Key, rows: int, columns: int, first_row: int = 0) -> NDArray[np.int8]:
    """Return rows `first_row` and on of a row-major byte matrix: int8 [rows, columns].

    `columns` must be a multiple of four, so that every row starts at a word.
    """
    stream = words(key, first_row * columns // 4, rows * columns // 4)
    return stream.astype("<u4", copy=False).view(np.int8).reshape(rows, columns)
