"""The evidence log in the database: append-only, one measurement at most once.

Appending is one transaction: place, hash, signature and row together, so that a process killed at
any point leaves either the whole record or nothing. A measurement (round, miner, kind) that is
already there is left as it is, so that work repeated after a crash is not counted twice. Triggers
refuse changes, and removal anywhere but at the old end.
"""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, func, select

from compute.domain.evidence import (
    GENESIS,
    EvidenceKind,
    Observation,
    Record,
    chain,
    from_line,
    to_line,
)
from compute.storage.database import read, write
from compute.storage.evidence_tables import evidence

PAGE = 2000  # rows that are held in memory while reading


class SigningKey(Protocol):
    """The validator's hotkey."""

    @property
    def ss58_address(self) -> str:
        """Address of the public half."""
        ...

    def sign(self, payload: bytes, /) -> bytes:
        """Sign bytes."""
        ...


class EvidenceLog:
    """Appends to and reads from the log; safe to use from several threads of one process.

    Args:
        engine: a migrated database.
        key: the validator's hotkey; signs every record.
        netuid: the subnet that the log is about.
    """

    def __init__(self, engine: Engine, key: SigningKey, netuid: int) -> None:
        self._engine = engine
        self._key = key
        self._netuid = netuid
        self._lock = threading.Lock()

    def append(self, observations: Iterable[Observation]) -> list[Record]:
        """Append what is not there yet, in one transaction.

        Returns:
            The new records, in order; observations that were there already have none.
        """
        wanted = list(observations)
        with self._lock:
            return write(self._engine, lambda connection: self._append(connection, wanted))

    def _append(self, connection: Connection, wanted: list[Observation]) -> list[Record]:
        seq, prev = _head(connection)
        added: list[Record] = []
        for observation in wanted:
            if _find(connection, observation.key) is None:
                record = chain(
                    observation,
                    seq=seq + 1,
                    prev=prev,
                    validator=self._key.ss58_address,
                    netuid=self._netuid,
                    sign=self._key.sign,
                )
                connection.execute(evidence.insert().values(_row(record)))
                seq, prev = record.seq, record.hash
                added.append(record)
        return added

    def measured(self, round_id: str, kind: EvidenceKind) -> frozenset[str]:
        """Hotkeys that a round has already measured."""
        query = select(evidence.c.miner).where(
            evidence.c.round == round_id, evidence.c.kind == kind.value
        )
        return read(self._engine, lambda connection: frozenset(connection.scalars(query)))

    def find(self, round_id: str, miner: str, kind: EvidenceKind) -> Record | None:
        """One measurement, or None."""
        key = (round_id, miner, kind.value)
        line = read(self._engine, lambda connection: _find(connection, key))
        return from_line(line) if line else None

    def head(self) -> tuple[int, str]:
        """Seq and hash of the newest record; 0 and zeros for an empty log."""
        return read(self._engine, _head)

    def records(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        """Records in order, a page at a time, from after a seq up to and with another."""
        while page := self._page(after, upto):
            for line in page:
                record = from_line(line)
                after = record.seq
                yield record

    def since_block(self, block: int) -> Iterator[Record]:
        """Records from the first one that was taken after a block on, in order."""
        query = select(func.min(evidence.c.seq)).where(evidence.c.block > block)
        first = read(self._engine, lambda connection: connection.scalar(query))
        if first is not None:
            yield from self.records(after=first - 1)

    def export(self, path: Path, *, after: int = 0) -> int:
        """Write the log as JSON lines; returns how many records were written."""
        count = 0
        with path.open("w", encoding="ascii") as file:
            for record in self.records(after):
                file.write(to_line(record) + "\n")
                count += 1
        return count

    def retain(self, block: int) -> int:
        """Remove records from the old end that were all taken at or before a block.

        Returns:
            How many were removed. The newest record always stays, so that the chain goes on.
        """
        with self._lock:
            return write(self._engine, lambda connection: _cut(connection, block))

    def _page(self, after: int, upto: int | None) -> list[str]:
        query = select(evidence.c.line).where(evidence.c.seq > after)
        if upto is not None:
            query = query.where(evidence.c.seq <= upto)
        query = query.order_by(evidence.c.seq).limit(PAGE)
        return read(self._engine, lambda connection: list(connection.scalars(query)))


def read_export(path: Path) -> Iterator[Record]:
    """Read an export, a line at a time.

    Raises:
        BrokenEvidence: at the first line that is not a record.
    """
    with path.open(encoding="ascii") as file:
        for line in file:
            yield from_line(line)


def _head(connection: Connection) -> tuple[int, str]:
    query = select(evidence.c.seq, evidence.c.hash).order_by(evidence.c.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return (row[0], row[1]) if row else (0, GENESIS)


def _find(connection: Connection, key: tuple[str, str, str]) -> str | None:
    round_id, miner, kind = key
    query = select(evidence.c.line).where(
        evidence.c.round == round_id, evidence.c.miner == miner, evidence.c.kind == kind
    )
    line: str | None = connection.scalar(query)
    return line


def _cut(connection: Connection, block: int) -> int:
    kept = connection.scalar(select(func.min(evidence.c.seq)).where(evidence.c.block > block))
    horizon = kept if kept is not None else _head(connection)[0]
    return int(connection.execute(evidence.delete().where(evidence.c.seq < horizon)).rowcount)


def _row(record: Record) -> dict[str, object]:
    return {
        "seq": record.seq,
        "round": record.round,
        "miner": record.miner,
        "kind": record.kind.value,
        "block": record.block,
        "hash": record.hash,
        "line": to_line(record),
    }
