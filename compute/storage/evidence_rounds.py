"""Which rounds have begun and ended: so that a round resumes after a crash where it stood."""

from sqlalchemy import Engine, select

from compute.domain.evidence import EvidenceKind
from compute.storage.database import read, write
from compute.storage.evidence_tables import round_

KEPT = 100  # ended rounds of a kind that are remembered


class RoundStore:
    """Remembers rounds; every call is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, kind: EvidenceKind, number: int, block: int) -> bool:
        """Begin a round, or take it up again; False when it has already ended."""
        where = (round_.c.kind == kind.value) & (round_.c.number == number)
        row = read(
            self._engine, lambda c: c.execute(select(round_.c.ended_block).where(where)).first()
        )
        if row is not None:
            return row[0] is None
        values = {"kind": kind.value, "number": number, "started_block": block}
        write(self._engine, lambda c: c.execute(round_.insert().values(**values)))
        return True

    def end(self, kind: EvidenceKind, number: int, block: int) -> None:
        """Note that a round has measured everybody; forget rounds of long ago."""
        same = round_.c.kind == kind.value
        write(
            self._engine,
            lambda c: (
                c.execute(
                    round_.update().where(same, round_.c.number == number).values(ended_block=block)
                ),
                c.execute(round_.delete().where(same, round_.c.number <= number - KEPT)),
            ),
        )
