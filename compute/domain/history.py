"""What a validator remembers for people: scores by epoch, measurements, and spans of time.

Times are Unix milliseconds, shares and factors parts per million. The longest span that a person
looks at is a year, and no screen has more than a few hundred points across: `Span` cuts time into
buckets, and every reading is grouped by them where the rows are.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from compute.domain.measurement import PPM
from compute.domain.score import Board, MinerScore

FACTORS = ("reliability", "ramp", "probe", "rental", "penalty", "address")
"""Factors of a score in the order of the product."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BUCKETS = 180  # points across a plot


class Range(StrEnum):
    """How far back a plot goes."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    YEAR = "1y"

    @property
    def length_ms(self) -> int:
        """Length in milliseconds."""
        return _LENGTHS_MS[self]


_LENGTHS_MS = {
    Range.HOUR: HOUR_MS,
    Range.DAY: DAY_MS,
    Range.WEEK: 7 * DAY_MS,
    Range.MONTH: 30 * DAY_MS,
    Range.YEAR: 365 * DAY_MS,
}


class Span(NamedTuple):
    """A stretch of time, cut into buckets of equal width.

    Attributes:
        start_ms: first moment.
        end_ms: first moment after it.
        width_ms: of one bucket.
    """

    start_ms: int
    end_ms: int
    width_ms: int

    @classmethod
    def ending(cls, now_ms: int, range_: Range, buckets: int = BUCKETS) -> "Span":
        """The range that ends now; bucket borders stay put while time goes on."""
        width = max(1, range_.length_ms // buckets)
        end = (now_ms // width + 1) * width
        return cls(end - width * buckets, end, width)

    @property
    def buckets(self) -> int:
        """How many buckets it has."""
        return (self.end_ms - self.start_ms) // self.width_ms

    def middle_ms(self, bucket: int) -> int:
        """The moment that a bucket's point is drawn at."""
        return self.start_ms + bucket * self.width_ms + self.width_ms // 2


class ScorePoint(NamedTuple):
    """One miner's score in one epoch.

    Attributes:
        share_ppm: of the vector.
        capacity: in millionths of the policy's unit of rate.
        factors: in the order of `FACTORS`.
        zero: why nothing was earned; empty when something was.
    """

    hotkey: str
    uid: int
    share_ppm: int
    score: int
    capacity: int
    factors: tuple[int, ...]
    zero: str = ""


@dataclass(frozen=True, slots=True)
class EpochScores:
    """The scores of one epoch.

    Attributes:
        epoch_block: first block of the epoch.
        block: at which the vector was computed.
        vector: address of the vector.
    """

    epoch_block: int
    block: int
    at_ms: int
    vector: str
    points: tuple[ScorePoint, ...]


class Measured(NamedTuple):
    """One measurement with its figures, as history keeps it.

    Attributes:
        gpu_class: of its first GPU; empty where nothing was proven.
        gpus: how many passed.
        tops_milli: of all its GPUs together.
        chain_ms: longest of its GPUs, as is `sweep_ms`.
        total_ms: the whole session, or the time until a rental probe was let in.
        note: what went wrong, in words.
    """

    seq: int
    kind: str
    at_ms: int
    block: int
    hotkey: str
    outcome: str
    reason: str
    gpu_class: str = ""
    gpus: int = 0
    tops_milli: int = 0
    chain_ms: int = 0
    sweep_ms: int = 0
    verify_ms: int = 0
    total_ms: int = 0
    note: str = ""


def epoch_scores(board: Board, *, epoch_block: int, block: int, at_ms: int) -> EpochScores:
    """What history keeps of a board.

    Args:
        board: as it was paid.
        epoch_block: first block of the epoch.
        block: at which it was computed.
        at_ms: when.
    """
    whole = sum(board.vector.values())
    points = tuple(
        _point(miner, board.vector.get(miner.uid, 0) * PPM // whole if whole else 0)
        for miner in board.miners
    )
    return EpochScores(epoch_block, block, at_ms, board.sha256, points)


def _point(miner: MinerScore, share_ppm: int) -> ScorePoint:
    factors = dict.fromkeys(FACTORS, PPM if miner.terms else 0)
    for term in miner.terms:
        name = "penalty" if term.name == "penalties" else term.name
        if name in factors:
            factors[name] = factors[name] * term.ppm // PPM
    return ScorePoint(
        hotkey=miner.hotkey,
        uid=miner.uid,
        share_ppm=share_ppm,
        score=miner.score,
        capacity=miner.capacity,
        factors=tuple(factors.values()),
        zero=miner.zero,
    )
