"""Known answers: no path is used before it has given the right bits on this very device."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compute.proof.exact import CHUNK
from compute.proof.holder import Holder
from compute.proof.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from compute.proof.engine import Engine

SLOT = bytes(range(32))
SUB = bytes(range(32, 64))
KAPPA = bytes(range(64, 96))


class Known(NamedTuple):
    """A small run and its roots, which also stand in the test vectors."""

    sizes: Sizes
    root_a: bytes
    root_b: bytes


KNOWN = Known(
    Sizes(256, 4, 64),
    bytes.fromhex("56c6a045e1d18d20b3f3ca852f12452ffbe902f00d2bc5fcd742fdf0f7cc2f00"),
    bytes.fromhex("48aedce7a0a518408bbfaf6e310a3c7c4eb65b25887e694251a0dedb9c20b498"),
)


def run_matches(engine: Engine) -> bool:
    """Whether a small run, from seeds to roots, gives the known answer.

    It leaves the engine allocated for the small sizes.
    """
    engine.allocate(KNOWN.sizes)
    holder = Holder(engine, KNOWN.sizes)
    return holder.run(SLOT, SUB) == KNOWN.root_a and holder.sweep(KAPPA) == KNOWN.root_b


def product_matches(
    multiply: Callable[[NDArray[np.int8], NDArray[np.int8]], NDArray[np.int32]],
) -> bool:
    """Whether a path multiplies exactly where it is hardest.

    The rows hold the extremes (whose sums reach 2^24 in a chunk and 2^25 over all), odd sums just
    below 2^24 that a narrower accumulator would round, and seeded noise.

    Args:
        multiply: left [rows, inner] times the transpose of right_t [columns, inner].
    """
    noise = np.random.default_rng(7)
    left = noise.integers(-128, 128, (64, 2 * CHUNK), np.int8)
    right_t = noise.integers(-128, 128, (64, 2 * CHUNK), np.int8)
    left[:8], right_t[:8] = -128, -128
    left[8:16], right_t[8:16] = 127, 127
    left[:, 0], right_t[:, 0] = 1, 1
    wanted = left.astype(np.int64) @ right_t.astype(np.int64).T
    return np.array_equal(multiply(left, right_t), wanted)
