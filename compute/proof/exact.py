"""Exact integer products by floating-point GEMM, the fastest exact product that NumPy has.

A product of two int8 values is at most 2^14, so a sum of 1024 of them is at most 2^24: every
partial sum is an integer that float32 holds exactly, in whatever order BLAS adds. Longer sums are
cut into chunks of 1024 and added up as int32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1024
"""Longest run of int8 products whose sum float32 holds exactly: 2^24 / 2^14."""


def product(left: NDArray[np.float32], right_t: NDArray[np.float32]) -> NDArray[np.int32]:
    """Multiply int8 values held as float32, exactly.

    Args:
        left: [rows, inner].
        right_t: the right factor's transpose, [columns, inner]; inner up to 2^17.

    Returns:
        left · right, int32 [rows, columns].
    """
    inner = left.shape[1]
    total: NDArray[np.int32] = (left[:, :CHUNK] @ right_t[:, :CHUNK].T).astype(np.int32)
    for start in range(CHUNK, inner, CHUNK):
        stop = start + CHUNK
        total += (left[:, start:stop] @ right_t[:, start:stop].T).astype(np.int32)
    return total
