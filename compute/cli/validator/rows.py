"""A miner's standing as `scores`, `score explain` and `miners` show it."""

from collections.abc import Sequence
from math import prod

from compute.cli.validator.standing import Standing
from compute.domain.evidence import EvidenceKind
from compute.domain.hardware import Count, Value
from compute.domain.measurement import PPM, WeightsContent
from compute.domain.score import MinerScore, Term
from compute.errors import UsageError

PENALTIES = ("penalties", "penalty")  # what the score calls none, and each of several


class TermRow(Value):
    """One factor of a score: its value, and why."""

    name: str
    value: float
    why: str


class ScoreRow(Value):
    """One miner's score.

    Attributes:
        share: of the vector that the evidence gives now, 0 to 1.
        published: of the newest vector that was written.
        history: shares in the vectors of the window, oldest first.
        zero: why nothing is earned; empty when something is.
    """

    uid: Count
    hotkey: str
    share: float
    published: float
    score: Count
    terms: tuple[TermRow, ...]
    zero: str
    history: tuple[float, ...]


class CheckRow(Value):
    """One measurement of a miner."""

    seq: Count
    block: Count
    kind: str
    outcome: str
    reason: str


def score_rows(found: Standing) -> list[ScoreRow]:
    """Every miner, the best paid first."""
    shares = shares_of(found.board.vector)
    published = shares_of({int(uid): w for uid, w in found.published.vector.items()})
    histories = _histories(found.vectors)
    rows = [
        ScoreRow(
            uid=miner.uid,
            hotkey=miner.hotkey,
            share=shares.get(miner.uid, 0.0),
            published=published.get(miner.uid, 0.0),
            score=miner.score,
            terms=tuple(map(_term, miner.terms)),
            zero=miner.zero,
            history=tuple(history.get(miner.uid, 0.0) for history in histories),
        )
        for miner in found.board.miners
    ]
    return sorted(rows, key=lambda row: (-row.share, row.uid))


def score_of(found: Standing, wanted: str) -> tuple[ScoreRow, MinerScore]:
    """One miner by UID or hotkey.

    Raises:
        UsageError: when the evidence knows no such miner.
    """
    for row in score_rows(found):
        if wanted in (str(row.uid), row.hotkey):
            miner = found.board.explain(row.uid)
            if miner is not None:
                return row, miner
    raise UsageError(
        f"the evidence knows no miner '{wanted}'", hint="'compute scores' lists them all"
    )


def checks_of(found: Standing, hotkey: str, most: int) -> list[CheckRow]:
    """A miner's newest measurements, newest first."""
    checks = list(found.book.miner(hotkey).checks)[-most:]
    return [
        CheckRow(
            seq=check.seq,
            block=check.block,
            kind=check.kind,
            outcome=check.outcome,
            reason=check.reason,
        )
        for check in reversed(checks)
    ]


def newest_check(found: Standing, hotkey: str, kind: EvidenceKind) -> CheckRow | None:
    """A miner's newest measurement of one kind."""
    return next((check for check in checks_of(found, hotkey, 10_000) if check.kind == kind), None)


def shares_of(vector: dict[int, int]) -> dict[int, float]:
    """UID to share of a vector."""
    whole = sum(vector.values())
    return {uid: weight / whole for uid, weight in vector.items()} if whole else {}


def factor(row: ScoreRow, name: str) -> float | None:
    """A factor of a score by its name, several of one name multiplied; None when it has none."""
    names = PENALTIES if name == "penalty" else (name,)
    values = [term.value for term in row.terms if term.name in names]
    return prod(values) if values else None


def _term(term: Term) -> TermRow:
    return TermRow(name=term.name, value=term.ppm / PPM, why=term.why)


def _histories(vectors: Sequence[WeightsContent]) -> list[dict[int, float]]:
    return [shares_of({int(uid): w for uid, w in each.vector.items()}) for each in vectors]
