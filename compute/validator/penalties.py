"""Penalties, with their reasons and their ends: written as evidence, and read by the score.

There is no other list. To bar a miner is a penalty with a factor of nothing; a penalty that is
lifted is written again with a factor of one. So whoever replays the evidence sees each of them,
and nothing is written under one name and read under another.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Observation, Outcome
from compute.domain.measurement import PPM, PenaltyContent
from compute.errors import UsageError
from compute.storage.evidence import EvidenceLog

FOREVER_BLOCKS = 10 * 365 * 7200


@dataclass(frozen=True, slots=True)
class Penalty:
    """A penalty as it stands.

    Attributes:
        hotkey: of the miner (ss58).
        penalty: id, to lift it by.
        factor_ppm: what the score is multiplied by.
        until_block: last block at which it counts.
        since_block: block at which it was last written.
    """

    hotkey: str
    penalty: str
    factor_ppm: int
    until_block: int
    since_block: int
    reason: str


def active(book: Book, block: int) -> Iterator[Penalty]:
    """Penalties that count at a block, by hotkey and id."""
    for hotkey, miner in sorted(book):
        for name, entry in sorted(miner.penalties.items()):
            content = entry.content
            if content.until_block >= block and content.factor_ppm < PPM:
                yield Penalty(
                    hotkey=hotkey,
                    penalty=name,
                    factor_ppm=content.factor_ppm,
                    until_block=content.until_block,
                    since_block=entry.block,
                    reason=content.reason,
                )


class PenaltyDesk:
    """Writes penalties; a running validator takes note before its next vector.

    Args:
        log: the validator's evidence, in this process or another's.
        wall: Unix seconds.
    """

    def __init__(self, log: EvidenceLog, wall: Callable[[], float] = time.time) -> None:
        self._log = log
        self._wall = wall

    def impose(
        self, hotkey: str, *, factor_ppm: int, block: int, blocks: int | None, reason: str
    ) -> PenaltyContent:
        """Penalise a miner from now on.

        Args:
            hotkey: of the miner (ss58).
            factor_ppm: 0 pays nothing, 999999 next to everything.
            block: the current block.
            blocks: how long; None until it is lifted.
            reason: for the miner to read.

        Raises:
            UsageError: without a reason, or with a factor that is none.
        """
        if not 0 <= factor_ppm < PPM:
            raise UsageError("a penalty's factor lies between 0 and 1")
        if not reason.strip():
            raise UsageError("a penalty needs a reason")
        content = PenaltyContent(
            penalty=secrets.token_hex(8),
            factor_ppm=factor_ppm,
            until_block=block + (FOREVER_BLOCKS if blocks is None else blocks),
            reason=reason.strip()[:500],
        )
        return self._write(hotkey, content, block)

    def lift(self, penalty: Penalty, block: int, reason: str) -> PenaltyContent:
        """End a penalty before its time."""
        content = PenaltyContent(
            penalty=penalty.penalty,
            factor_ppm=PPM,
            until_block=penalty.until_block,
            reason=reason.strip()[:500] or "lifted",
        )
        return self._write(penalty.hotkey, content, block)

    def renew(self, book: Book, block: int, window_blocks: int) -> int:
        """Write again what still counts but would soon lie before the window.

        Returns:
            How many were written.
        """
        aging = [
            each for each in active(book, block) if each.since_block <= block - window_blocks // 2
        ]
        for each in aging:
            content = PenaltyContent(
                penalty=each.penalty,
                factor_ppm=each.factor_ppm,
                until_block=each.until_block,
                reason=each.reason,
            )
            self._write(each.hotkey, content, block)
        return len(aging)

    def _write(self, hotkey: str, content: PenaltyContent, block: int) -> PenaltyContent:
        observation = Observation(
            kind=EvidenceKind.PENALTY,
            round=f"penalty-{content.penalty}-{block}-{secrets.token_hex(4)}",
            miner=hotkey,
            block=block,
            at_ms=int(self._wall() * 1000),
            outcome=Outcome.PASSED,
            detail=content.reason,
            content=content.model_dump(mode="json"),
        )
        self._log.append([observation])
        return content
