"""Keeps a validator's history while it works, without ever holding it up.

Everything goes through one bounded queue to one task that writes in a thread. When the disk is slow
or full, history has a gap and the log says so: measuring and paying go on.
"""

import asyncio
import time
from collections.abc import Callable

from compute.domain.evidence import EvidenceKind, Outcome, Record
from compute.domain.history import DAY_MS, EpochScores, Measured
from compute.domain.measurement import ProbeContent, ProofContent
from compute.errors import ComputeError
from compute.settings.dashboard import DashboardSettings
from compute.storage.history import HistoryWriter
from compute.telemetry import logs

MOST_WAITING = 20_000  # some rounds over a thousand miners
BATCH = 2000
GATHER_S = 1.0
FORGET_EVERY_S = 3600.0
_PLAIN = frozenset({EvidenceKind.SPECS, EvidenceKind.PING})
log = logs.get("history")

Item = EpochScores | Measured


class HistoryKeeper:
    """Takes what happened from the validator, and writes it.

    Args:
        writer: of the history's database.
        settings: how long things are kept.
        wall: Unix seconds.
    """

    def __init__(
        self,
        writer: HistoryWriter,
        settings: DashboardSettings,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._wall = wall
        self._queue: asyncio.Queue[Item] = asyncio.Queue(MOST_WAITING)
        self._forgotten_at = 0.0
        self.lost = 0

    def measured(self, record: Record) -> None:
        """Take a record of evidence; never blocks."""
        if (found := measured_of(record)) is not None:
            self._put(found)

    def scored(self, scores: EpochScores) -> None:
        """Take an epoch's scores; never blocks."""
        self._put(scores)

    def _put(self, item: Item) -> None:
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                first = await self._queue.get()
                await asyncio.sleep(GATHER_S)
                await asyncio.to_thread(self._write, self._batch(first))
        except asyncio.CancelledError:
            self._write(self._batch())
            raise

    def _batch(self, *first: Item) -> list[Item]:
        batch = list(first)
        while len(batch) < BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    def _write(self, batch: list[Item]) -> None:
        try:
            self._writer.add_measures([item for item in batch if isinstance(item, Measured)])
            for item in batch:
                if isinstance(item, EpochScores):
                    self._writer.add_epoch(item)
            self._forget()
        except ComputeError as error:
            self.lost += len(batch)
            log.warning("history_not_written", items=len(batch), why=str(error))

    def _forget(self) -> None:
        now = self._wall()
        if now - self._forgotten_at < FORGET_EVERY_S:
            return
        self._forgotten_at = now
        now_ms = int(now * 1000)
        self._writer.forget(
            scores_before_ms=now_ms - self._settings.scores_days * DAY_MS,
            measures_before_ms=now_ms - self._settings.measures_days * DAY_MS,
        )


def measured_of(record: Record) -> Measured | None:
    """What history keeps of a record; None for what is no measurement, or too plain to keep."""
    if not record.miner or record.kind in {EvidenceKind.PENALTY, EvidenceKind.SCORES}:
        return None
    if record.kind in _PLAIN and record.outcome is Outcome.PASSED:
        return None
    plain = Measured(
        seq=record.seq,
        kind=record.kind.value,
        at_ms=record.at_ms,
        block=record.block,
        hotkey=record.miner,
        outcome=record.outcome.value,
        reason=record.reason.value,
        note=record.detail[:300],
    )
    if record.kind is EvidenceKind.PROOF:
        return _with_proof(plain, ProofContent.model_validate(record.content))
    if record.kind is EvidenceKind.PROBE:
        probe = ProbeContent.model_validate(record.content)
        return plain._replace(total_ms=probe.ready_ms)
    return plain


def _with_proof(plain: Measured, proof: ProofContent) -> Measured:
    passed = [gpu for gpu in proof.gpus if gpu.credit_ppm]
    return plain._replace(
        gpu_class=proof.gpus[0].gpu_class if proof.gpus else "",
        gpus=len(passed),
        tops_milli=sum(gpu.tops_milli for gpu in passed),
        chain_ms=max((gpu.chain_ms for gpu in proof.gpus), default=0),
        sweep_ms=max((gpu.sweep_ms for gpu in proof.gpus), default=0),
        verify_ms=proof.verify_ms,
        total_ms=proof.seconds_ms,
    )
