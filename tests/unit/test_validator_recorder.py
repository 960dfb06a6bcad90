"""Writing evidence while measuring: together, in step with the book, and with other writers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bittensor.sp_core import Keypair

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Observation
from compute.domain.measurement import SpecsContent
from compute.domain.score import score
from compute.errors import UsageError
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.testing.evidence import NOW, Log, snapshot
from compute.validator.penalties import PenaltyDesk, active
from compute.validator.policies import load_policy
from compute.validator.recorder import Recorder

KEY: Any = Keypair.create_from_uri("//Keeper")
POLICY = load_policy("dev")


@pytest.fixture
def log(tmp_path: Path) -> EvidenceLog:
    engine = open_database(f"sqlite:///{tmp_path / 'validator.sqlite'}", Role.VALIDATOR)
    return EvidenceLog(engine, KEY, netuid=1)


def observation(miner: str, round_id: str = "specs-1", block: int = NOW) -> Observation:
    return Observation(
        kind=EvidenceKind.SPECS,
        round=round_id,
        miner=miner,
        block=block,
        at_ms=0,
        content=SpecsContent().model_dump(mode="json"),
    )


async def test_many_at_once_are_all_written_and_told(log: EvidenceLog):
    """Each of many observations at once gets its record; the book holds what the log does."""
    recorder, told = Recorder(log, 1000), []
    recorder.listen(told.append)
    records = await asyncio.gather(*(recorder.record(observation(f"m{i}")) for i in range(200)))
    assert [r.miner for r in records if r] == [f"m{i}" for i in range(200)]
    assert told == list(log.records())
    assert recorder.book.head == log.head()[0] == 200


async def test_repeat_gives_no_record(log: EvidenceLog):
    """A measurement that is there already, or comes twice at once, is written once."""
    recorder = Recorder(log, 1000)
    twice = await asyncio.gather(*(recorder.record(observation("m")) for _ in range(2)))
    assert sum(record is not None for record in twice) == 1
    assert await recorder.record(observation("m")) is None


async def test_cancelled_writer_leaves_book_and_log_in_step(log: EvidenceLog):
    """Whatever moment a measuring task is cancelled at, the book holds exactly what was written."""
    recorder = Recorder(log, 1000)
    for index in range(30):
        task = asyncio.create_task(recorder.record(observation(f"m{index}")))
        for _ in range(index % 6):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await recorder.record(observation("last"))
    assert recorder.book.head == log.head()[0]
    assert set(recorder.book.miners) == {record.miner for record in log.records()}


async def test_restart_reads_the_window(log: EvidenceLog):
    """After a restart the book holds the window's records, and goes on from the log's end."""
    old = Recorder(log, 1000)
    await old.record(observation("old", block=NOW - 5000))
    await old.record(observation("new"))
    recorder = Recorder(log, 1000)
    assert await recorder.load(NOW) == 1
    assert set(recorder.book.miners) == {"new"}
    await recorder.record(observation("next"))
    assert recorder.book.head == 3


async def test_another_process_may_write_penalties(log: EvidenceLog):
    """A penalty written from outside counts in the next vector of a running validator."""
    recorder = Recorder(log, 1000)
    await recorder.load(NOW)
    await recorder.record(observation("m"))
    PenaltyDesk(log).impose("m", factor_ppm=0, block=NOW, blocks=100, reason="resells leases")
    await recorder.record(observation("n"))
    assert [each.reason for each in active(recorder.book, NOW)] == ["resells leases"]
    PenaltyDesk(log).impose("n", factor_ppm=0, block=NOW, blocks=100, reason="the same")
    await recorder.sync()
    assert {each.hotkey for each in active(recorder.book, NOW)} == {"m", "n"}


def test_penalty_is_renewed_before_the_window_forgets_it(log: EvidenceLog):
    """A long penalty goes on counting beyond the window, and ends when it is lifted."""
    desk, window = PenaltyDesk(log), POLICY.window.blocks
    desk.impose("m", factor_ppm=0, block=NOW, blocks=None, reason="barred")
    for block in range(NOW, NOW + 3 * window, window // 3):
        desk.renew(Book().extend(log.records()), block, window)
        story = Log().proven("m", "a", block=block)
        book = Book().extend(log.records())
        book.head = 0
        book.extend(story.records)
        assert score(book, snapshot("m", block=block), POLICY).vector == {}
    penalty = next(active(Book().extend(log.records()), NOW + 3 * window))
    desk.lift(penalty, NOW + 3 * window, "appealed")
    assert not list(active(Book().extend(log.records()), NOW + 3 * window))


def test_penalty_without_reason_or_factor_is_refused(log: EvidenceLog):
    """A penalty says why, and takes something."""
    for factor, reason in ((0, "  "), (1_000_000, "why")):
        with pytest.raises(UsageError):
            PenaltyDesk(log).impose("m", factor_ppm=factor, block=NOW, blocks=1, reason=reason)
