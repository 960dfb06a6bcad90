"""What a validator's state folder says: its evidence, its vectors, and how everybody stands.

Everything is read only, so that it may be looked at while the validator runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from compute.cli.context import Context
from compute.cli.validator.policy import policy_for
from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Record, from_line
from compute.domain.measurement import PPM, Snapshot, WeightsContent
from compute.domain.policy import Policy
from compute.domain.score import Board, score
from compute.errors import Code, ComputeError, UsageError
from compute.storage.database import connect, read, translated
from compute.storage.evidence import EvidenceLog
from compute.storage.evidence_tables import evidence

FILE = "validator.sqlite"


class _Nobody:
    """The key of somebody who only reads."""

    ss58_address = ""

    def sign(self, _payload: bytes, /) -> bytes:
        """Refuse: nothing is written here."""
        raise ComputeError(Code.INTERNAL, "a reader signs nothing")


@contextmanager
def reading(state: Path) -> Iterator[Engine]:
    """The validator's database, to read from.

    Raises:
        UsageError: when the folder holds none.
    """
    file = state / FILE
    if not file.exists():
        raise UsageError(
            f"there is no validator's database in {state}",
            hint="name the validator's state folder by --state, or its settings by --config",
        )
    engine = connect(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def looking(here: Context) -> Iterator[Engine]:
    """The database of the validator on this machine, wherever its settings say that it is.

    Raises:
        UsageError: when its state folder holds none, and its settings name no other.
    """
    url = here.validator.validation.database
    if not url:
        with reading(here.validator.state) as engine:
            yield engine
        return
    with translated():
        engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


def evidence_of(engine: Engine) -> EvidenceLog:
    """The evidence in a database, to read from."""
    return EvidenceLog(engine, _Nobody(), 0)


@dataclass(frozen=True, slots=True)
class Standing:
    """How everybody stands by the newest evidence.

    Attributes:
        published: the newest vector that was written.
        policy: under which it was made, or the one that was asked for.
        snapshot: the neurons that the vector was about.
        book: the evidence of the policy's window up to now.
        board: what the evidence gives now, which the next vector will show.
        vectors: each vector in the window, oldest first.
    """

    published: WeightsContent
    policy: Policy
    snapshot: Snapshot
    book: Book
    board: Board
    vectors: tuple[WeightsContent, ...]


def standing(engine: Engine, policy: str = "") -> Standing:
    """Score the newest evidence.

    Args:
        engine: the validator's database.
        policy: name or file; empty for the one of the newest vector.

    Raises:
        UsageError: before the first vector, when there is nothing to score yet.
    """
    record = newest(engine, EvidenceKind.WEIGHTS)
    if record is None:
        raise UsageError("no weights were computed yet", hint="wait until the first epoch's end")
    published = WeightsContent.model_validate(record.content)
    used = policy_for(published, policy)
    book, vectors, block = Book(), [], published.snapshot.block
    for each in evidence_of(engine).since_block(published.snapshot.block - used.window.blocks):
        book.add(each)
        block = max(block, each.block)
        if each.kind is EvidenceKind.WEIGHTS:
            vectors.append(WeightsContent.model_validate(each.content))
    snapshot = published.snapshot.model_copy(update={"block": block})
    board = score(book, snapshot, used)
    return Standing(published, used, snapshot, book, board, tuple(vectors))


def reliability_of_all(here: Context) -> dict[str, float]:
    """Hotkey to the decayed share of passed checks, under the policy of the newest vector.

    Raises:
        UsageError: when there is no validator's database.
    """
    state = here.settings.state
    with reading(state) if (state / FILE).exists() else looking(here) as engine:
        found = standing(engine)
    return {
        miner.hotkey: term.ppm / PPM
        for miner in found.board.miners
        for term in miner.terms
        if term.name == "reliability"
    }


def newest(engine: Engine, kind: EvidenceKind) -> Record | None:
    """The newest record of a kind."""
    query = (
        select(evidence.c.line)
        .where(evidence.c.kind == kind.value)
        .order_by(evidence.c.seq.desc())
        .limit(1)
    )
    line = read(engine, lambda connection: connection.scalar(query))
    return from_line(line) if line else None


def newest_of_all(engine: Engine) -> Record | None:
    """The newest record."""
    query = select(evidence.c.line).order_by(evidence.c.seq.desc()).limit(1)
    line = read(engine, lambda connection: connection.scalar(query))
    return from_line(line) if line else None
