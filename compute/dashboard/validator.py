"""A validator's dashboard beside its work: listens, keeps history, serves."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from compute.dashboard.app import create_dashboard
from compute.dashboard.feed import Feed
from compute.dashboard.keeper import HistoryKeeper
from compute.dashboard.network import public_name
from compute.dashboard.shapes import About
from compute.dashboard.validator_routes import ACTIVITY, validator_router
from compute.dashboard.validator_view import ValidatorSources, ValidatorView
from compute.domain.evidence import EvidenceKind, Record
from compute.domain.history import epoch_scores
from compute.domain.measurement import WeightsContent
from compute.domain.policy import Policy
from compute.domain.score import Board
from compute.settings.dashboard import DashboardSettings
from compute.storage.database import Role, open_database
from compute.storage.evidence_weights import SubmissionState
from compute.storage.history import HistoryWriter
from compute.storage.history_reading import HistoryReader
from compute.storage.rentals_reading import RentalReader
from compute.telemetry import logs
from compute.telemetry.metrics import ValidatorMetrics, new_registry
from compute.validator.api.server import serving
from compute.validator.service import ValidatorService
from compute.version import __version__

_SHOWN = frozenset({EvidenceKind.SPECS, EvidenceKind.PROOF, EvidenceKind.PROBE, EvidenceKind.PING})
log = logs.get("dashboard")


@dataclass(frozen=True, slots=True)
class DashboardParts:
    """What a validator's dashboard is made with, beside the validator itself.

    Attributes:
        hotkey: the validator's.
        network: name of the chain.
        state: folder that the history lies in.
        database: the validator's; the dashboard only reads it.
    """

    hotkey: str
    netuid: int
    network: str
    state: Path
    policy: Policy
    database: Engine


@contextlib.asynccontextmanager
async def validator_dashboard(
    service: ValidatorService, parts: DashboardParts, settings: DashboardSettings
) -> AsyncIterator[int]:
    """Serve a validator's dashboard while the context lasts; gives the port.

    Enter it before the validator runs, so that nothing is missed.

    Raises:
        UsageError: `PORT_TAKEN`.
        ComputeError: `STORAGE_FAILED`.
    """
    url = f"sqlite:///{parts.state / 'history.sqlite'}"
    engine = await asyncio.to_thread(open_database, url, Role.HISTORY)
    reader, keeper = HistoryReader(engine), HistoryKeeper(HistoryWriter(engine), settings)
    desk = _Desk(service, parts, reader, keeper)
    tasks = [
        asyncio.create_task(keeper.run(), name="history"),
        asyncio.create_task(desk.tell_blocks(), name="dashboard-blocks"),
        asyncio.create_task(desk.catch_up(), name="history-catch-up"),
    ]
    app = create_dashboard(
        validator_router(desk.view, desk.feed),
        about=desk.about,
        feed=desk.feed,
        registry=desk.registry,
        settings=settings,
    )
    try:
        async with serving(app, settings.host, settings.port) as port:
            log.info("dashboard", url=f"http://{settings.host}:{port}/")
            try:
                yield port
            finally:
                desk.feed.close()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        engine.dispose()


class _Desk:
    """Passes on what the validator does: to pages, history and metrics."""

    def __init__(
        self,
        service: ValidatorService,
        parts: DashboardParts,
        history: HistoryReader,
        keeper: HistoryKeeper,
    ) -> None:
        self._service = service
        self._parts = parts
        self._history = history
        self._keeper = keeper
        self.feed = Feed()
        self.registry = new_registry("validator")
        self.metrics = ValidatorMetrics(self.registry)
        self.view = ValidatorView(
            ValidatorSources(
                view=service.view,
                recorder=service.recorder,
                weights=service.weights,
                history=history,
                rentals=RentalReader(parts.database),
                policy=parts.policy,
                hotkey=parts.hotkey,
                netuid=parts.netuid,
                network=parts.network,
            )
        )
        self._watch()
        service.recorder.listen(self.measured)
        service.on_scored = self.scored

    def about(self) -> About:
        """Whose dashboard this is."""
        return About(
            role="validator",
            hotkey=self._parts.hotkey,
            netuid=self._parts.netuid,
            network=public_name(self._parts.network),
            version=__version__,
            now_ms=int(time.time() * 1000),
        )

    def _watch(self) -> None:
        view = self._service.view
        self.metrics.watch(
            block=lambda: view.block,
            away=lambda: view.away,
            since=lambda: view.metagraph.blocks_since_epoch if view.block else 0,
            tempo=lambda: view.metagraph.tempo if view.block else 0,
            lost=lambda: self._keeper.lost,
            pages=lambda: self.feed.pages,
        )

    def measured(self, record: Record) -> None:
        """Take a new record of evidence."""
        self.metrics.measured(record)
        self._keeper.measured(record)
        if record.kind in _SHOWN and self._service.view.block:
            item = self.view.activity(record).model_dump(mode="json")
            self.feed.put(ACTIVITY, item, keep=True)

    def scored(self, board: Board, record: Record) -> None:
        """Take an epoch's board, as it is about to be paid."""
        content = WeightsContent.model_validate(record.content)
        epoch_block = content.snapshot.epoch_block
        self._keeper.scored(
            epoch_scores(board, epoch_block=epoch_block, block=record.block, at_ms=record.at_ms)
        )
        self.metrics.scored(board, epoch_block, self.view.classes(board))
        self.feed.put("weights", {"epoch_block": epoch_block})

    async def tell_blocks(self) -> None:
        """Tell pages of each block, until cancelled."""
        block = 0
        while True:
            block = await self._service.view.wait_beyond(block)
            self.feed.put("block", {"block": block})
            newest = await asyncio.to_thread(self._service.weights.latest_submission)
            if newest is not None and newest.state is SubmissionState.CONFIRMED:
                self.metrics.confirmed(newest.included_block or 0)

    async def catch_up(self) -> None:
        """Take into history what was measured while it was not kept."""
        after = await asyncio.to_thread(self._history.newest_seq)
        head = (await asyncio.to_thread(self._service.recorder.log.head))[0]
        while after < head:
            upto = min(after + 500, head)
            records = await asyncio.to_thread(
                lambda first=after, last=upto: list(  # type: ignore[misc]
                    self._service.recorder.log.records(first, last)
                )
            )
            for record in records:
                self._keeper.measured(record)
            after = upto
            await asyncio.sleep(0)
