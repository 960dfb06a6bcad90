"""The history in its database: written once an epoch and with each batch of measurements."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from compute.domain.history import FACTORS, EpochScores, Measured, ScorePoint
from compute.storage.database import write
from compute.storage.history_tables import epoch, measure, miner, note, score

_ASKED = 500  # values in one query: below every database's limit on parameters


class HistoryWriter:
    """Writes history; used by one thread at a time.

    Args:
        engine: a migrated database, see `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: dict[tuple[str, str], int] = {}

    def add_epoch(self, scores: EpochScores) -> bool:
        """Keep an epoch's scores; False when they are there already."""
        return write(self._engine, lambda connection: self._add_epoch(connection, scores))

    def add_measures(self, measures: Sequence[Measured]) -> None:
        """Keep measurements; those that are there already are left as they are."""
        if measures:
            write(self._engine, lambda connection: self._add_measures(connection, measures))

    def forget(self, *, scores_before_ms: int, measures_before_ms: int) -> int:
        """Remove what is older; answers how many rows that were."""
        return write(
            self._engine,
            lambda connection: sum(
                int(connection.execute(table.delete().where(table.c.at_ms < before)).rowcount)
                for table, before in (
                    (score, scores_before_ms),
                    (epoch, scores_before_ms),
                    (measure, measures_before_ms),
                )
            ),
        )

    def _add_epoch(self, connection: Connection, scores: EpochScores) -> bool:
        same = select(epoch.c.epoch_block).where(epoch.c.epoch_block == scores.epoch_block)
        if connection.scalar(same) is not None:
            return False
        points = scores.points
        connection.execute(
            epoch.insert().values(
                epoch_block=scores.epoch_block,
                block=scores.block,
                at_ms=scores.at_ms,
                miners=len(points),
                earning=sum(point.score > 0 for point in points),
                score=sum(point.score for point in points),
                capacity=sum(point.capacity for point in points),
                vector=scores.vector,
            )
        )
        miners = self._known(connection, miner, "hotkey", (p.hotkey for p in points))
        notes = self._known(connection, note, "text", (p.zero for p in points))
        rows = [_score_row(p, scores.at_ms, miners, notes) for p in points]
        if rows:
            connection.execute(score.insert(), rows)
        return True

    def _add_measures(self, connection: Connection, measures: Sequence[Measured]) -> None:
        there: set[int] = set()
        for part in _parts([one.seq for one in measures]):
            there.update(connection.scalars(select(measure.c.seq).where(measure.c.seq.in_(part))))
        new = [one for one in measures if one.seq not in there]
        miners = self._known(connection, miner, "hotkey", (one.hotkey for one in new))
        notes = self._known(connection, note, "text", (one.note for one in new))
        rows = [
            one._asdict() | {"miner": miners[one.hotkey], "note": notes.get(one.note[:300])}
            for one in new
        ]
        for row in rows:
            del row["hotkey"]
        if rows:
            connection.execute(measure.insert(), rows)

    def _known(
        self, connection: Connection, table: Table, column: str, values: Iterable[str]
    ) -> dict[str, int]:
        """Ids of texts, which are given to those that have none yet; the empty text has none."""
        wanted = {value[:300] for value in values if value}
        missing = sorted(v for v in wanted if (table.name, v) not in self._ids)
        for part in _parts(missing):
            self._look_up(connection, table, column, part)
            new = [v for v in part if (table.name, v) not in self._ids]
            if new:
                connection.execute(table.insert(), [{column: v} for v in new])
                self._look_up(connection, table, column, new)
        return {value: self._ids[table.name, value] for value in wanted}

    def _look_up(
        self, connection: Connection, table: Table, column: str, values: Sequence[str]
    ) -> None:
        query = select(table.c[column], table.c.id).where(table.c[column].in_(values))
        self._ids |= {(table.name, text): number for text, number in connection.execute(query)}


def _score_row(
    point: ScorePoint, at_ms: int, miners: dict[str, int], notes: dict[str, int]
) -> dict[str, Any]:
    return {
        "miner": miners[point.hotkey],
        "at_ms": at_ms,
        "uid": point.uid,
        "share_ppm": point.share_ppm,
        "score": point.score,
        "capacity": point.capacity,
        **dict(zip(FACTORS, point.factors, strict=True)),
        "zero": notes.get(point.zero[:300]),
    }


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[at : at + _ASKED] for at in range(0, len(values), _ASKED))
