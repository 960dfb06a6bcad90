"""The chain's state for one process: always brought up to the present before it is looked at."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bittensor import ChainError, ErrorCode

from compute.adapters.chain.devchain import epochs
from compute.adapters.chain.devchain.block import block_of
from compute.adapters.chain.devchain.file import ChainFile, Clock, Tx

T = TypeVar("T")

STATE_BLOCKS = 256
"""How old a block may be that a read is pinned to; pruned nodes keep as many."""


class DevState:
    """Blocking access to a chain's file, with all epochs run that are due.

    Args:
        path: the chain's file.
        clock: seconds since 1970; replaced in tests.

    Every method raises `DevChainAwayError` when the file cannot be used.
    """

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self._file = ChainFile(path, clock)

    def read(self, read: Callable[[Tx], T], at: str | None = None) -> T:
        """Look at the state; `at` is the hash of the block that the reader is pinned to."""
        with self._file.read() as tx:
            if not epochs.is_due(tx):
                pinned(tx, at)
                return read(tx)
        with self.written() as tx:
            pinned(tx, at)
            return read(tx)

    @contextlib.contextmanager
    def written(self) -> Iterator[Tx]:
        """A transaction that changes the state."""
        with self._file.write() as tx:
            epochs.settle(tx)
            yield tx

    def change(self, change: Callable[[Tx], T]) -> T:
        """Change the state by hand, past all calls: for setting a chain up."""
        with self.written() as tx:
            return change(tx)

    def advance(self, blocks: int) -> int:
        """Let blocks pass at once, for every process on this chain; the new block's number."""
        with self.written() as tx:
            tx.db.execute(
                "UPDATE meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'skipped'",
                (max(0, blocks),),
            )
        return self.read(lambda tx: tx.head)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        self._file.close()


def pinned(tx: Tx, at: str | None) -> int:
    """The number of the block with this hash (the current one for None).

    Raises:
        ChainError: there is no such block, or its state is not kept any more.
    """
    if at is None:
        return tx.head
    number = block_of(tx.genesis, at)
    if number is None or number > tx.head:
        raise ChainError(f"no block {at} on this chain", code=ErrorCode.NOT_FOUND)
    if number < tx.head - STATE_BLOCKS:
        raise ChainError(f"state of block {number} is already discarded", code=ErrorCode.NOT_FOUND)
    return number
