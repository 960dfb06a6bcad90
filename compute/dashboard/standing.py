"""How every miner stands now: the score as it would be paid at this moment, with its reasons."""

import time
from collections.abc import Callable

from compute.domain import score
from compute.domain.book import Book
from compute.domain.measurement import Snapshot
from compute.domain.metagraph import Metagraph
from compute.domain.policy import Policy
from compute.domain.score import Board
from compute.validator.weights import snapshot_of

AGE_S = 10.0  # a board over a thousand miners takes some tens of milliseconds to make


class StandingBoard:
    """Scores on demand, at most once in a while.

    Args:
        book: gives the evidence.
        policy: how it is scored.
        hotkey: the validator's own, which is no miner.
        monotonic: seconds.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        policy: Policy,
        hotkey: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._policy = policy
        self._hotkey = hotkey
        self._monotonic = monotonic
        self._made_at = 0.0
        self._made_of: tuple[int, int] | None = None
        self._board: Board | None = None

    def board(self, metagraph: Metagraph) -> Board:
        """The board of this metagraph and the newest evidence; a little older when just made."""
        book = self._book()
        made_of = (book.head, metagraph.block)
        now = self._monotonic()
        stale = made_of != self._made_of and now - self._made_at >= AGE_S
        if self._board is None or stale:
            self._board = score.score(book, self._snapshot(book, metagraph), self._policy)
            self._made_of, self._made_at = made_of, now
        return self._board

    def _snapshot(self, book: Book, metagraph: Metagraph) -> Snapshot:
        first = metagraph.block - metagraph.blocks_since_epoch
        return snapshot_of(metagraph, self._hotkey, first, set(book.miners))
