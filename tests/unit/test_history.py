"""A validator's history in its database."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from compute.domain.history import (
    DAY_MS,
    HOUR_MS,
    EpochScores,
    Measured,
    Range,
    ScorePoint,
    Span,
)
from compute.storage.base import HistoryBase
from compute.storage.database import Role, migrate, open_database
from compute.storage.history import HistoryWriter
from compute.storage.history_reading import HistoryReader, MeasureFilter

NOW_MS = 1_790_000_000_000
PPM = 1_000_000


@pytest.fixture
def engine(database_url: str):
    made = open_database(database_url, Role.HISTORY)
    yield made
    made.dispose()


def epoch(number: int, at_ms: int, **scores: int) -> EpochScores:
    points = tuple(
        ScorePoint(hotkey, uid, 100_000, score, score, (PPM,) * 6, "" if score else "why not")
        for uid, (hotkey, score) in enumerate(scores.items())
    )
    return EpochScores(number, number + 1, at_ms, "ab" * 32, points)


def proof(seq: int, hotkey: str, **fields) -> Measured:
    plain = Measured(seq, "proof", NOW_MS - seq, 1, hotkey, "passed", "ok", "h100", 2, 3_000_000)
    return plain._replace(**fields)


def test_the_migration_leads_to_the_tables(engine: Engine):
    """What the revisions make is what the code expects, and they can be undone and redone."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, HistoryBase.metadata) == []
    migrate(engine, Role.HISTORY)


def test_an_epoch_is_kept_once(engine: Engine):
    """Work repeated after a crash counts once, and the first word stands."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    assert writer.add_epoch(epoch(10, NOW_MS, a=5))
    assert not writer.add_epoch(epoch(10, NOW_MS + 1, a=9))
    [row] = reader.epoch_rows(5)
    assert (row.epoch_block, row.score, row.earning) == (10, 5, 1)


def test_measurements_are_kept_once(engine: Engine):
    """The same record seen live and again while catching up is one measurement."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    writer.add_measures([proof(1, "a"), proof(2, "b")])
    HistoryWriter(engine).add_measures([proof(2, "b"), proof(3, "a")])
    total, rows = reader.measures(MeasureFilter(("proof",)), limit=10)
    assert (total, [row.seq for row in rows]) == (3, [3, 2, 1])
    assert reader.newest_seq() == 3


def test_a_bucket_tells_its_extremes(engine: Engine):
    """An hour at nothing within a day of scores shows in the least of its bucket."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    span = Span.ending(NOW_MS, Range.YEAR)
    start = span.start_ms + 10 * span.width_ms
    for hour in range(10):
        writer.add_epoch(epoch(hour, start + hour * HOUR_MS, a=0 if hour == 4 else 100))
    [bucket] = reader.scores("a", span)
    assert (bucket.bucket, bucket.least, bucket.mean, bucket.most) == (10, 0, 90, 100)
    assert bucket.epochs == 10


def test_strangers_have_no_scores(engine: Engine):
    """An unknown hotkey gets empty answers, not another's."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    writer.add_epoch(epoch(1, NOW_MS, a=5))
    span = Span.ending(NOW_MS, Range.DAY)
    assert reader.scores("b", span) == []
    assert reader.sparklines(["b"], span) == {"b": {}}
    assert reader.throughput(span, "b") == []


def test_throughput_is_for_one_gpu(engine: Engine):
    """Proofs of different numbers of GPUs compare; those in which none passed do not count."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    writer.add_measures(
        [
            proof(1, "a", gpus=2, tops_milli=3_000_000),
            proof(2, "b", gpus=8, tops_milli=8_000_000),
            proof(3, "c", gpus=0, tops_milli=0),
        ]
    )
    [row] = reader.throughput(Span.ending(NOW_MS, Range.DAY))
    assert (row.least, row.mean, row.most, row.proofs) == (1_000_000, 1_250_000, 1_500_000, 2)


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        (MeasureFilter(outcome="failed"), [3]),
        (MeasureFilter(hotkey="a"), [3, 1]),
        (MeasureFilter(text="SHORT"), [3]),
        (MeasureFilter(text="%"), []),
        (MeasureFilter(text="l40"), [2]),
        (MeasureFilter(kinds=("probe",)), []),
        (MeasureFilter(seq=2), [2]),
    ],
)
def test_measurements_are_found(engine: Engine, wanted: MeasureFilter, seqs: list[int]):
    """By outcome, miner, words of the reason, class, kind and place; wildcards are plain text."""
    HistoryWriter(engine).add_measures(
        [
            proof(1, "a"),
            proof(2, "b", gpu_class="l40s"),
            proof(3, "a", outcome="failed", reason="memory_short", note="too short by 4 MiB"),
        ]
    )
    assert [row.seq for row in HistoryReader(engine).measures(wanted, limit=9)[1]] == seqs


def test_old_rows_are_forgotten(engine: Engine):
    """Scores and measurements each go after their own time, and the newer stay."""
    writer, reader = HistoryWriter(engine), HistoryReader(engine)
    writer.add_epoch(epoch(1, NOW_MS - 9 * DAY_MS, a=1))
    writer.add_epoch(epoch(2, NOW_MS, a=1))
    writer.add_measures([proof(1, "a", at_ms=NOW_MS - 2 * DAY_MS), proof(2, "a")])
    gone = writer.forget(scores_before_ms=NOW_MS - 3 * DAY_MS, measures_before_ms=NOW_MS - DAY_MS)
    assert gone == 3  # an epoch, its one score, a measurement
    assert [row.epoch_block for row in reader.epoch_rows(9)] == [2]
    assert [row.seq for row in reader.measures(MeasureFilter(), limit=9)[1]] == [2]
