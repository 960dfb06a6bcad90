"""The validator's readings over HTTP: the subnet, its miners, what was measured, what was paid.

What is in memory is read in the event loop, where it changes; databases are read in threads.
"""

import asyncio
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from compute.dashboard.feed import Feed
from compute.dashboard.listing import Kind, Outcome, Sort, State, page_of
from compute.dashboard.measurements import measure_detail
from compute.dashboard.miner_detail import detail_of
from compute.dashboard.plots import banded, filled, line, plot
from compute.dashboard.rentals_view import rental_detail, rentals_page
from compute.dashboard.shapes import (
    PAGE_SIZE,
    Activity,
    EpochDetail,
    MeasureDetail,
    MeasurePage,
    MinerDetail,
    MinerPage,
    Page,
    Plot,
    RentalDetail,
    RentalPage,
    Series,
    Size,
    Standing,
    Text,
    ValidatorOverview,
    WeightsPage,
)
from compute.dashboard.validator_view import ValidatorView
from compute.dashboard.weights_view import epoch_detail, weights_page
from compute.domain.history import FACTORS, Range, Span
from compute.storage.history_reading import MeasureFilter

ACTIVITY = "measured"
SPARK_BUCKETS = 48
Hotkey = Annotated[str, Path(pattern=r"^[1-9A-HJ-NP-Za-km-z]{40,64}$")]
Seq = Annotated[int, Path(ge=1, le=2**53)]
Block = Annotated[int, Path(ge=0, le=2**53)]
Before = Annotated[int, Query(ge=0, le=2**53)]
RentalId = Annotated[str, Path(pattern=r"^[0-9a-f]{8,64}$")]
RentalStateName = Literal["", "live", "pending", "active", "paused", "ended", "failed"]


def validator_router(view: ValidatorView, feed: Feed) -> APIRouter:
    """Every reading of a validator."""
    router = APIRouter(prefix="/api", tags=["validator"])
    _subnet(router, view, feed)
    _miners(router, view)
    _measures(router, view)
    _weights(router, view)
    _rentals(router, view)
    return router


def _now_ms() -> int:
    return int(time.time() * 1000)


def _subnet(router: APIRouter, view: ValidatorView, feed: Feed) -> None:
    history = view.sources.history

    @router.get("/overview")
    async def overview() -> ValidatorOverview:
        """The subnet now."""
        newest = await asyncio.to_thread(view.sources.weights.latest_submission)
        recent = [Activity.model_validate(item) for item in feed.recent(ACTIVITY)]
        return view.overview(newest, recent)

    @router.get("/standings")
    async def standings() -> list[Standing]:
        """Every UID, for the map."""
        return view.standings()

    @router.get("/plots/subnet")
    def subnet(range: Range = Range.WEEK) -> Plot:  # noqa: A002 - the name on the wire
        """Score and earners over time."""
        span = Span.ending(_now_ms(), range)
        rows = history.epochs(span)
        return plot(
            range,
            span,
            [
                line("score", span, {row.bucket: row.score for row in rows}),
                line("earning", span, {row.bucket: row.earning for row in rows}),
                line("miners", span, {row.bucket: row.miners for row in rows}),
            ],
        )

    @router.get("/plots/throughput")
    def throughput(range: Range = Range.WEEK, hotkey: Text = "") -> Plot:  # noqa: A002
        """Tera-operations per second and GPU, by class, with the envelope of all proofs."""
        span = Span.ending(_now_ms(), range)
        lines: dict[str, dict[int, tuple[float, float, float]]] = {}
        for row in history.throughput(span, hotkey):
            figures = (row.least / 1000, row.mean / 1000, row.most / 1000)
            lines.setdefault(row.gpu_class, {})[row.bucket] = figures
        return plot(range, span, [banded(name, span, rows) for name, rows in lines.items()])

    @router.get("/plots/checks")
    def checks(range: Range = Range.DAY) -> Plot:  # noqa: A002
        """Proofs and rental probes by how they ended."""
        span = Span.ending(_now_ms(), range, 60)
        times: dict[str, dict[int, float]] = {"passed": {}, "inconclusive": {}, "failed": {}}
        for row in history.counts(span):
            if row.kind in {"proof", "probe"}:
                where = times[row.outcome]
                where[row.bucket] = where.get(row.bucket, 0) + row.times
        return plot(range, span, [line(name, span, rows) for name, rows in times.items()])


def _miners(router: APIRouter, view: ValidatorView) -> None:
    history = view.sources.history

    @router.get("/miners")
    async def miners(
        sort: Sort = "share",
        state: State = "",
        text: Text = "",
        *,
        down: bool = True,
        page: Page = 0,
        size: Size = PAGE_SIZE,
    ) -> MinerPage:
        """One page of miners, with the scores of their last week."""
        found = page_of(view.rows(), sort, state, text, down=down, page=page, size=size)
        span = Span.ending(_now_ms(), Range.WEEK, SPARK_BUCKETS)
        hotkeys = [row.hotkey for row in found.rows]
        lines = await asyncio.to_thread(history.sparklines, hotkeys, span)
        rows = (
            row.model_copy(update={"spark": filled(span, lines[row.hotkey])}) for row in found.rows
        )
        return found.model_copy(update={"rows": tuple(rows)})

    @router.get("/miners/{hotkey}")
    async def miner(hotkey: Hotkey) -> MinerDetail:
        """One miner: its claim, its proofs, its score and why."""
        return detail_of(view, hotkey)

    @router.get("/miners/{hotkey}/scores")
    def scores(hotkey: Hotkey, range: Range = Range.WEEK) -> Plot:  # noqa: A002
        """Score, share and every factor over time."""
        span = Span.ending(_now_ms(), range)
        rows = history.scores(hotkey, span)
        factors = [
            line(name, span, {row.bucket: row.factors[at] for row in rows})
            for at, name in enumerate(FACTORS)
        ]
        series: list[Series] = [
            banded("score", span, {row.bucket: (row.least, row.mean, row.most) for row in rows}),
            line("share", span, {row.bucket: row.share_ppm for row in rows}),
            line("capacity", span, {row.bucket: row.capacity for row in rows}),
        ]
        return plot(range, span, [*series, *factors])


def _measures(router: APIRouter, view: ValidatorView) -> None:
    history = view.sources.history

    @router.get("/measures")
    def measures(
        kind: Kind = "proof",
        outcome: Outcome = "",
        hotkey: Text = "",
        text: Text = "",
        page: Page = 0,
        size: Size = PAGE_SIZE,
    ) -> MeasurePage:
        """Measurements of a kind, newest first."""
        wanted = MeasureFilter((kind,), outcome, hotkey, text)
        total, rows = history.measures(wanted, limit=size, offset=page * size)
        shown = tuple(view.measure_row(row) for row in rows)
        return MeasurePage(total=total, page=page, size=size, rows=shown)

    @router.get("/measures/{seq}")
    def measure(seq: Seq) -> MeasureDetail:
        """One measurement, with what its signed record says."""
        return measure_detail(view, seq)


def _weights(router: APIRouter, view: ValidatorView) -> None:
    @router.get("/weights")
    def weights(range: Range = Range.WEEK, before: Before = 0) -> WeightsPage:  # noqa: A002
        """Shares over time and the newest epochs."""
        return weights_page(view, range, _now_ms(), before)

    @router.get("/weights/{epoch_block}")
    def vector(epoch_block: Block) -> EpochDetail:
        """One published vector."""
        return epoch_detail(view, epoch_block)


def _rentals(router: APIRouter, view: ValidatorView) -> None:
    @router.get("/rentals")
    def rentals(state: RentalStateName = "", page: Page = 0, size: Size = PAGE_SIZE) -> RentalPage:
        """Rentals through this validator, newest first."""
        return rentals_page(view, state, page=page, size=size)

    @router.get("/rentals/{rental_id}")
    def rental(rental_id: RentalId) -> RentalDetail:
        """One rental with its timeline."""
        return rental_detail(view, rental_id)
