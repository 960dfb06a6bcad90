"""A slot: the randomness that all GPUs challenged together share.

One slot serves a whole class across miners, so that B (and B·W, the costly part of checking) is
derived once, and one physical GPU serves one claim.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256, shake_256

import numpy as np
from numpy.typing import NDArray

from compute.proof import chain, prf
from compute.proof.exact import CHUNK
from compute.proof.sizes import SEED_BYTES

Entropy = Callable[[int], bytes]
"""Gives that many unpredictable bytes; `secrets.token_bytes` but in tests."""

COLUMNS = 8
"""Columns of the secret W: each lets a wrong row through with probability at most 2^-8."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One challenge's seeds.

    Attributes:
        seed: public from START on.
        secret: goes into every sub, so that no miner can tell another's; published with
            transcripts afterwards.
        check_secret: W's seed; never published.
    """

    seed: bytes
    secret: bytes = field(repr=False)
    check_secret: bytes = field(repr=False)

    @classmethod
    def fresh(cls, entropy: Entropy) -> "Slot":
        """Draw a slot."""
        return cls(entropy(SEED_BYTES), entropy(SEED_BYTES), entropy(SEED_BYTES))

    def sub(self, hotkey: str, claim: str, gpu: int) -> bytes:
        """Return the seed of one claimed GPU of one miner."""
        return sub_seed(self.seed, hotkey, claim, gpu, self.secret)

    def tables(self, n: int) -> "SlotTables":
        """Derive what mode F checks with; do it once a slot and share it."""
        return SlotTables(n, *_check_tables(self.seed, self.check_secret, n))


def sub_seed(slot: bytes, hotkey: str, claim: str, gpu: int, secret: bytes) -> bytes:
    """Return SHA256(slot ‖ hotkey ‖ claim ‖ gpu as u32 ‖ secret)."""
    text = hotkey.encode() + claim.encode() + gpu.to_bytes(4, "little")
    return sha256(slot + text + secret).digest()


@dataclass(frozen=True, slots=True)
class SlotTables:
    """A secret projection of B; integers held exactly as float64.

    Attributes:
        n: rows of B.
        weights: W, [n, 8].
        projected: B·W, [n, 8].
    """

    n: int
    weights: NDArray[np.float64] = field(repr=False)
    projected: NDArray[np.float64] = field(repr=False)


def _check_tables(
    slot: bytes, secret: bytes, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute W and B·W from B's transpose, a panel of exact length at a time."""
    weights = np.frombuffer(shake_256(secret).digest(n * COLUMNS), np.int8).reshape(n, COLUMNS)
    key = chain.SlotKeys.of(slot, n).product
    narrow = weights.astype(np.float32)
    total = np.zeros((COLUMNS, n), np.float64)
    step = min(CHUNK, max(1, (1 << 22) // n))
    for start in range(0, n, step):
        count = min(step, n - start)
        panel = prf.matrix(key, count, n, start).astype(np.float32)
        total += narrow[start : start + count].T @ panel
    return weights.astype(np.float64), np.ascontiguousarray(total.T)
