"""Puts a dashboard together: page, readings, live events, metrics, and what guards them."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp

from compute.dashboard.assets import assets_router
from compute.dashboard.feed import Feed
from compute.dashboard.guarding import Guard
from compute.dashboard.shapes import About
from compute.errors import AdmissionError, Code
from compute.settings.dashboard import DashboardSettings
from compute.validator.api.app import create_app


def create_dashboard(
    *routers: APIRouter,
    about: Callable[[], About],
    feed: Feed,
    registry: CollectorRegistry,
    settings: DashboardSettings,
) -> ASGIApp:
    """An application that shows a neuron.

    Args:
        routers: the role's readings.
        about: whose dashboard it is.
        feed: live events.
        registry: the role's metrics, served at `/metrics`.
        settings: names that the dashboard answers to.
    """
    common = _common(about, feed, registry)
    app = create_app(assets_router(), common, *routers, title="dashboard")
    return Guard(app, settings.host, settings.names)


def _common(about: Callable[[], About], feed: Feed, registry: CollectorRegistry) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        """Whether the neuron's event loop turns."""
        return {"status": "ok"}

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Metrics, as Prometheus reads them."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/api/about")
    async def who() -> About:
        """Whose dashboard this is."""
        return about()

    @router.get("/api/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        """What happens, as server-sent events."""
        if feed.full:
            raise AdmissionError(Code.BUSY, "too many pages listen", retry_after_s=30)
        return StreamingResponse(
            feed.listen(),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
        )

    return router
