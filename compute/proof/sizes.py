"""The sizes of a proof and the limits that bound them before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

LEAF_ROWS_A = 32
"""Rows whose folds make one leaf of commitment A (8 words each, 1 KiB)."""
LEAF_ROWS_B = 128
"""Rows whose sweep words make one leaf of commitment B (2 words each, 1 KiB)."""
LEAF_BYTES = 1024
FOLD_WORDS = 8
SWEEP_WORDS = 2
HASH_BYTES = 32
SEED_BYTES = 32

MAX_N = 32768
"""Widest matrix: twice the production size; 2 GiB of float32 on a CPU."""
MAX_BLOCKS = 1 << 16
"""Most blocks of a history."""
MAX_SWEEP_WIDTH = 4096
MAX_UNITS = 256
"""Most units that one OPEN may ask for."""
MAX_GPUS = 64
"""Most GPUs of one session: the largest nodes hold 16."""

RESERVE_BYTES = 1_500_000_000
"""Device memory that is left free beside the history."""
RESIDENT_SHARE = 0.92
"""Share of the device memory that the history and the reserve may take."""


def depth_of(leaves: int) -> int:
    """Return the depth of a tree of `leaves` leaves padded to a power of two."""
    return (leaves - 1).bit_length()


def blocks_for(memory_bytes: int, n: int) -> int:
    """Return M = floor((0.92 · memory - 1.5 GB) / n²): how many blocks fill a device."""
    return max(0, int((RESIDENT_SHARE * memory_bytes - RESERVE_BYTES) // (n * n)))


@dataclass(frozen=True)
class Sizes:
    """What one GPU is asked to do.

    Attributes:
        n: rows and columns of each block, a multiple of 32.
        blocks: M, blocks of the history, the seeded one counted in.
        sweep_width: Ns, columns of the sweep's matrix, a multiple of 4.

    Raises:
        ValueError: a figure is outside its limits.
    """

    n: int
    blocks: int
    sweep_width: int

    def __post_init__(self) -> None:
        if not (LEAF_ROWS_A <= self.n <= MAX_N and self.n % LEAF_ROWS_A == 0):
            raise ValueError("n must be a multiple of 32 from 32 to 32768")
        if not 1 <= self.blocks <= MAX_BLOCKS:
            raise ValueError("M must be from 1 to 65536")
        if not (0 < self.sweep_width <= MAX_SWEEP_WIDTH and self.sweep_width % 4 == 0):
            raise ValueError("Ns must be a multiple of 4 from 4 to 4096")

    @property
    def rows(self) -> int:
        """Rows of the whole history, M·n."""
        return self.blocks * self.n

    @property
    def history_bytes(self) -> int:
        """Bytes that the history occupies, M·n²."""
        return self.rows * self.n

    @property
    def operations(self) -> int:
        """Integer operations of the chain, 2n³(M-1)."""
        return 2 * self.n**3 * (self.blocks - 1)

    @property
    def block_depth(self) -> int:
        """Depth of one block's tree."""
        return depth_of(self.n // LEAF_ROWS_A)

    @property
    def path_a_depth(self) -> int:
        """Hashes of a path from a fold leaf to `root_a`."""
        return self.block_depth + depth_of(self.blocks)

    @property
    def path_b_depth(self) -> int:
        """Hashes of a path from a sweep leaf to `root_b`."""
        return depth_of(-(-self.rows // LEAF_ROWS_B))

    def challengeable(self) -> bool:
        """Whether a session may use these sizes: a round to open, and only whole leaves."""
        return self.blocks > 1 and self.rows % LEAF_ROWS_B == 0
