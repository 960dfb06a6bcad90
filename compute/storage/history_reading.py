"""Reading the history: always grouped into the buckets of a span, never row by row.

Every reading is one query whose rows are as many as there are points on the plot, so that a year
of hourly scores costs a page no more than a day of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, func, select

from compute.domain.history import FACTORS, Measured, Span
from compute.storage.database import read
from compute.storage.history_tables import epoch, measure, miner, note, score


class ScoreBucket(NamedTuple):
    """A miner's scores within one bucket.

    Attributes:
        least, mean, most: of the score.
        factors: mean of each, in the order of `FACTORS`.
        uid: the newest.
    """

    bucket: int
    least: int
    mean: float
    most: int
    share_ppm: float
    capacity: float
    factors: tuple[float, ...]
    uid: int
    epochs: int


class EpochBucket(NamedTuple):
    """The subnet within one bucket: means over its epochs."""

    bucket: int
    miners: float
    earning: float
    score: float
    capacity: float
    epochs: int


class ThroughputBucket(NamedTuple):
    """Proofs of one class within one bucket; operations in thousandths of a TOPS for each GPU."""

    bucket: int
    gpu_class: str
    least: float
    mean: float
    most: float
    proofs: int


class CountBucket(NamedTuple):
    """How often a kind of measurement ended in an outcome within one bucket."""

    bucket: int
    kind: str
    outcome: str
    times: int


class EpochRow(NamedTuple):
    """One epoch."""

    epoch_block: int
    block: int
    at_ms: int
    miners: int
    earning: int
    score: int
    vector: str


@dataclass(frozen=True, slots=True)
class MeasureFilter:
    """Which measurements are wanted; empty wants all.

    Attributes:
        text: part of a hotkey, a class, a reason or a note.
        seq: this one alone; 0 for any.
    """

    kinds: tuple[str, ...] = ()
    outcome: str = ""
    hotkey: str = ""
    text: str = ""
    seq: int = 0


class HistoryReader:
    """Answers what plots ask; every call is one short transaction, from any thread.

    Args:
        engine: a migrated database, see `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def scores(self, hotkey: str, span: Span) -> list[ScoreBucket]:
        """One miner's scores; buckets without an epoch are left out."""
        bucket = _bucket(score.c.at_ms, span)
        query = (
            select(
                bucket,
                func.min(score.c.score),
                func.avg(score.c.score),
                func.max(score.c.score),
                func.avg(score.c.share_ppm),
                func.avg(score.c.capacity),
                *(func.avg(score.c[name]) for name in FACTORS),
                func.max(score.c.uid),
                func.count(),
            )
            .join(miner, miner.c.id == score.c.miner)
            .where(miner.c.hotkey == hotkey, *_within(score.c.at_ms, span))
            .group_by(bucket)
            .order_by(bucket)
        )
        return [
            ScoreBucket(
                int(row[0]), int(row[1]), float(row[2]), int(row[3]), float(row[4]), float(row[5]),
                tuple(float(value) for value in row[6 : 6 + len(FACTORS)]), int(row[-2]), row[-1],
            )
            for row in self._rows(query)
        ]  # fmt: skip

    def sparklines(self, hotkeys: Sequence[str], span: Span) -> dict[str, dict[int, float]]:
        """Hotkey to bucket to mean score."""
        return self._by_miner(hotkeys, span, score.c.score)

    def shares(self, hotkeys: Sequence[str], span: Span) -> dict[str, dict[int, float]]:
        """Hotkey to bucket to mean share of the vector, in parts per million."""
        return self._by_miner(hotkeys, span, score.c.share_ppm)

    def _by_miner(
        self, hotkeys: Sequence[str], span: Span, value: ColumnElement[int]
    ) -> dict[str, dict[int, float]]:
        bucket = _bucket(score.c.at_ms, span)
        query = (
            select(miner.c.hotkey, bucket, func.avg(value))
            .join(miner, miner.c.id == score.c.miner)
            .where(miner.c.hotkey.in_(hotkeys), *_within(score.c.at_ms, span))
            .group_by(miner.c.hotkey, bucket)
        )
        found: dict[str, dict[int, float]] = {hotkey: {} for hotkey in hotkeys}
        for hotkey, where, mean in self._rows(query) if hotkeys else ():
            found[hotkey][int(where)] = float(mean)
        return found

    def epochs(self, span: Span) -> list[EpochBucket]:
        """The subnet over time."""
        bucket = _bucket(epoch.c.at_ms, span)
        means = (epoch.c.miners, epoch.c.earning, epoch.c.score, epoch.c.capacity)
        query = (
            select(bucket, *(func.avg(column) for column in means), func.count())
            .where(*_within(epoch.c.at_ms, span))
            .group_by(bucket)
            .order_by(bucket)
        )
        return [
            EpochBucket(int(row[0]), row[1], row[2], row[3], row[4], row[5])
            for row in self._rows(query)
        ]

    def epoch_rows(self, limit: int, before: int = 0) -> list[EpochRow]:
        """The newest epochs, newest first; before an epoch's block when that is not 0."""
        names = (epoch.c[name] for name in EpochRow._fields)
        query = select(*names).order_by(epoch.c.epoch_block.desc()).limit(limit)
        if before:
            query = query.where(epoch.c.epoch_block < before)
        return [EpochRow(*row) for row in self._rows(query)]

    def throughput(self, span: Span, hotkey: str = "") -> list[ThroughputBucket]:
        """Operations per second and GPU that proofs showed, by class."""
        bucket = _bucket(measure.c.at_ms, span)
        each = measure.c.tops_milli * 1.0 / measure.c.gpus
        query = (
            select(
                bucket, measure.c.gpu_class, func.min(each), func.avg(each), func.max(each),
                func.count(),
            )
            .where(
                measure.c.kind == "proof", measure.c.gpus > 0, *_within(measure.c.at_ms, span)
            )
            .group_by(bucket, measure.c.gpu_class)
            .order_by(bucket, measure.c.gpu_class)
        )  # fmt: skip
        if hotkey:
            query = query.where(measure.c.miner == _id_of(hotkey))
        return [ThroughputBucket(int(row[0]), *row[1:]) for row in self._rows(query)]

    def counts(self, span: Span) -> list[CountBucket]:
        """How measurements ended; passed specs and pings are not kept, and not counted."""
        bucket = _bucket(measure.c.at_ms, span)
        query = (
            select(bucket, measure.c.kind, measure.c.outcome, func.count())
            .where(*_within(measure.c.at_ms, span))
            .group_by(bucket, measure.c.kind, measure.c.outcome)
            .order_by(bucket)
        )
        return [CountBucket(int(row[0]), row[1], row[2], row[3]) for row in self._rows(query)]

    def measures(
        self, wanted: MeasureFilter, *, limit: int, offset: int = 0
    ) -> tuple[int, list[Measured]]:
        """How many there are, and one page of them, newest first."""
        where = _matching(wanted)
        source = measure.join(miner, miner.c.id == measure.c.miner).outerjoin(
            note, note.c.id == measure.c.note
        )
        total = self._rows(select(func.count()).select_from(source).where(*where))[0][0]
        columns: dict[str, ColumnElement[Any]] = {
            **dict(measure.columns.items()),
            "hotkey": miner.c.hotkey,
            "note": func.coalesce(note.c.text, ""),
        }
        query = (
            select(*(columns[name] for name in Measured._fields))
            .select_from(source)
            .where(*where)
            .order_by(measure.c.seq.desc())
            .limit(limit)
            .offset(offset)
        )
        return int(total), [Measured(*row) for row in self._rows(query)]

    def measure(self, seq: int) -> Measured | None:
        """One measurement; None when it is not remembered."""
        found = self.measures(MeasureFilter(seq=seq), limit=1)[1]
        return found[0] if found else None

    def newest_seq(self) -> int:
        """Seq of the newest measurement; 0 when there is none."""
        return int(self._rows(select(func.coalesce(func.max(measure.c.seq), 0)))[0][0])

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return read(self._engine, lambda connection: connection.execute(query).all())


def _bucket(at_ms: ColumnElement[int], span: Span) -> ColumnElement[int]:
    return ((at_ms - span.start_ms) // span.width_ms).label("bucket")


def _within(at_ms: ColumnElement[int], span: Span) -> tuple[ColumnElement[bool], ...]:
    return (at_ms >= span.start_ms, at_ms < span.end_ms)


def _id_of(hotkey: str) -> Any:
    return select(miner.c.id).where(miner.c.hotkey == hotkey).scalar_subquery()


def _matching(wanted: MeasureFilter) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.seq:
        where.append(measure.c.seq == wanted.seq)
    if wanted.kinds:
        where.append(measure.c.kind.in_(wanted.kinds))
    if wanted.outcome:
        where.append(measure.c.outcome == wanted.outcome)
    if wanted.hotkey:
        where.append(measure.c.miner == _id_of(wanted.hotkey))
    if wanted.text:
        columns = (miner.c.hotkey, measure.c.gpu_class, measure.c.reason, note.c.text)
        found = columns[0].icontains(wanted.text, autoescape=True)
        for column in columns[1:]:
            found |= func.coalesce(column, "").icontains(wanted.text, autoescape=True)
        where.append(found)
    return where
