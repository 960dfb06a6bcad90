"""Vectors as published, and what became of their submission to the chain."""

from enum import StrEnum

from sqlalchemy import Connection, Engine, Row, select

from compute.domain.hardware import Value
from compute.storage.database import read, write
from compute.storage.evidence_tables import submission, vector


class SubmissionState(StrEnum):
    """Where one epoch's weights are.

    ::

        PLANNED → SENT → CONFIRMED
             ↑______↓        PLANNED, SENT → MISSED (the epoch is over)
    """

    PLANNED = "planned"
    SENT = "sent"
    CONFIRMED = "confirmed"
    MISSED = "missed"


class Submission(Value):
    """One epoch's weights on their way to the chain.

    Attributes:
        epoch_block: first block of the epoch.
        vector: address of the vector.
        attempts: how often it was sent.
        sent_block: newest block when it was last sent; 0 before.
        included_block: block of inclusion, once confirmed.
        message: what the chain said last.
    """

    epoch_block: int
    vector: str
    state: SubmissionState = SubmissionState.PLANNED
    attempts: int = 0
    sent_block: int = 0
    included_block: int | None = None
    message: str = ""


class WeightsStore:
    """Vectors and submissions; every call is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def plan(self, epoch_block: int, sha256: str, document: str) -> Submission:
        """Keep an epoch's vector and plan its submission; a repeat changes nothing."""
        return write(self._engine, lambda c: _plan(c, epoch_block, sha256, document))

    def submission(self, epoch_block: int) -> Submission | None:
        """What became of one epoch's weights; None when nothing was planned."""
        query = select(submission).where(submission.c.epoch_block == epoch_block)
        return _one(read(self._engine, lambda c: c.execute(query).first()))

    def latest_submission(self) -> Submission | None:
        """The newest epoch's."""
        query = select(submission).order_by(submission.c.epoch_block.desc()).limit(1)
        return _one(read(self._engine, lambda c: c.execute(query).first()))

    def save(self, entry: Submission) -> Submission:
        """Write a submission's new state; returns it."""
        fields = entry.model_dump(mode="json", exclude={"epoch_block"})
        fields["message"] = entry.message[:500]
        where = submission.c.epoch_block == entry.epoch_block
        write(self._engine, lambda c: c.execute(submission.update().where(where).values(**fields)))
        return entry

    def document(self, sha256: str) -> str | None:
        """A published vector by its address."""
        query = select(vector.c.document).where(vector.c.sha256 == sha256)
        return read(self._engine, lambda c: c.scalar(query))

    def latest_document(self) -> str | None:
        """The vector of the newest epoch."""
        query = select(vector.c.document).order_by(vector.c.epoch_block.desc()).limit(1)
        return read(self._engine, lambda c: c.scalar(query))


def _plan(connection: Connection, epoch_block: int, sha256: str, document: str) -> Submission:
    query = select(submission).where(submission.c.epoch_block == epoch_block)
    if (found := _one(connection.execute(query).first())) is not None:
        return found
    planned = Submission(epoch_block=epoch_block, vector=sha256)
    connection.execute(submission.insert().values(**planned.model_dump(mode="json")))
    if connection.scalar(select(vector.c.sha256).where(vector.c.sha256 == sha256)) is None:
        values = {"sha256": sha256, "epoch_block": epoch_block, "document": document}
        connection.execute(vector.insert().values(**values))
    return planned


def _one(row: Row[tuple[object, ...]] | None) -> Submission | None:
    return None if row is None else Submission.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
