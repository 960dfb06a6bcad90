"""The miner's readings over HTTP; all of them read the ledger or the engine, in threads."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path

from compute.dashboard.miner_shapes import (
    ImageRow,
    LanesShape,
    LeaseDetail,
    LeasePage,
    MinerOverview,
)
from compute.dashboard.miner_view import MinerView
from compute.dashboard.shapes import PAGE_SIZE, Page, Plot, Size, Text
from compute.domain.history import Range

LeaseId = Annotated[str, Path(pattern=r"^[0-9a-f]{8,64}$")]
Kind = Literal["", "rental", "probe", "challenge", "environment", "job", "tracker"]
State = Literal["", "live", "active", "paused", "ending", "ended", "failed"]


def miner_router(view: MinerView) -> APIRouter:
    """Every reading of a miner."""
    router = APIRouter(prefix="/api", tags=["miner"])

    @router.get("/overview")
    def overview() -> MinerOverview:
        """The machine now."""
        return view.overview()

    @router.get("/plots/usage")
    def usage(range: Range = Range.DAY) -> Plot:  # noqa: A002 - the name on the wire
        """How much of the machine was leased over time."""
        return view.usage(range, _now_ms())

    @router.get("/lanes")
    def lanes(range: Range = Range.DAY) -> LanesShape:  # noqa: A002
        """Leases as bars over time."""
        return view.lanes(range, _now_ms())

    @router.get("/leases")
    def leases(
        kind: Kind = "", state: State = "", text: Text = "", page: Page = 0, size: Size = PAGE_SIZE
    ) -> LeasePage:
        """One page of leases, newest first."""
        return view.page(kind, state, text, page=page, size=size)

    @router.get("/leases/{lease_id}")
    def lease(lease_id: LeaseId) -> LeaseDetail:
        """One lease with its timeline."""
        return view.lease(lease_id)

    @router.get("/images")
    def images() -> list[ImageRow]:
        """Images that the engine holds."""
        return view.images()

    return router


def _now_ms() -> int:
    return int(time.time() * 1000)
