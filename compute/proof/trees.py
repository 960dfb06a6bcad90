"""Merkle trees of SHA-256 with separated leaves and nodes, padded by zero hashes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from compute.proof.sizes import HASH_BYTES, depth_of

LEAF = b"\x00"
NODE = b"\x01"
PADDING = bytes(HASH_BYTES)
"""Stands in place of a leaf hash that does not exist."""


def leaf_hashes(data: bytes, leaf_bytes: int) -> list[bytes]:
    """Hash consecutive leaves of `leaf_bytes` each; a last one may be shorter."""
    return [
        sha256(LEAF + data[start : start + leaf_bytes]).digest()
        for start in range(0, len(data), leaf_bytes)
    ]


class Tree:
    """A whole tree, kept level by level so that any path can be read off.

    Args:
        hashes: the leaf hashes, at least one.
    """

    def __init__(self, hashes: Sequence[bytes]) -> None:
        width = 1 << depth_of(len(hashes))
        level = b"".join(hashes) + PADDING * (width - len(hashes))
        self._levels = [level]
        while len(level) > HASH_BYTES:
            level = b"".join(
                [
                    sha256(NODE + level[start : start + 2 * HASH_BYTES]).digest()
                    for start in range(0, len(level), 2 * HASH_BYTES)
                ]
            )
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        """The tree's root; that of a single leaf is the leaf's hash."""
        return self._levels[-1]

    def path(self, index: int) -> bytes:
        """Return the siblings from leaf `index` up to the root, joined."""
        siblings = []
        for level in self._levels[:-1]:
            start = (index ^ 1) * HASH_BYTES
            siblings.append(level[start : start + HASH_BYTES])
            index >>= 1
        return b"".join(siblings)


def climb(leaf: bytes, index: int, path: bytes) -> bytes:
    """Return the root that a leaf's content, its index and its path lead to."""
    node = sha256(LEAF + leaf).digest()
    for start in range(0, len(path), HASH_BYTES):
        sibling = path[start : start + HASH_BYTES]
        node = sha256(NODE + (sibling + node if index & 1 else node + sibling)).digest()
        index >>= 1
    return node
