"""A miner's dashboard beside its work: watches its leases, keeps its metrics, serves."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from compute.dashboard.app import create_dashboard
from compute.dashboard.feed import Feed
from compute.dashboard.miner_routes import miner_router
from compute.dashboard.miner_view import MinerView, row_of
from compute.dashboard.shapes import About
from compute.domain.lease import EndReason, Lease
from compute.domain.requirement import Capacity
from compute.errors import ComputeError
from compute.miner.service import MinerService
from compute.settings.dashboard import DashboardSettings
from compute.telemetry import logs
from compute.telemetry.metrics import MinerMetrics
from compute.validator.api.server import serving
from compute.version import __version__

WATCH_S = 2.0
SLOWLY_S = 15.0
LOOKED_AT = 256  # newest leases that are compared with what was seen before
MIB = 1 << 20
log = logs.get("dashboard")


@dataclass(frozen=True, slots=True)
class MinerIdentity:
    """Whose dashboard it is.

    Attributes:
        network: name of the chain.
    """

    hotkey: str
    netuid: int
    network: str


@contextlib.asynccontextmanager
async def miner_dashboard(
    service: MinerService,
    identity: MinerIdentity,
    settings: DashboardSettings,
    registry: CollectorRegistry,
) -> AsyncIterator[int]:
    """Keep a miner's metrics and serve its dashboard while the context lasts; gives the port.

    Args:
        service: reconciled or about to be.
        identity: whose it is.
        settings: where it is served; port 0 serves nothing, and keeps the metrics all the same.
        registry: where the metrics go; an axon may serve the same.

    Raises:
        UsageError: `PORT_TAKEN`.
    """
    watch = MinerWatch(service, registry)
    task = asyncio.create_task(watch.run(), name="dashboard-watch")

    def about() -> About:
        return About(
            role="miner",
            hotkey=identity.hotkey,
            netuid=identity.netuid,
            network=identity.network,
            version=__version__,
            now_ms=int(time.time() * 1000),
        )

    try:
        if not settings.port:
            yield 0
            return
        app = create_dashboard(
            miner_router(watch.view),
            about=about,
            feed=watch.feed,
            registry=registry,
            settings=settings,
        )
        async with serving(app, settings.host, settings.port) as port:
            log.info("dashboard", url=f"http://{settings.host}:{port}/")
            try:
                yield port
            finally:
                watch.feed.close()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class MinerWatch:
    """Looks at the ledger every two seconds; tells pages what changed and keeps the metrics."""

    def __init__(self, service: MinerService, registry: CollectorRegistry) -> None:
        self._host = service.host
        self._service = service
        self._seen: dict[str, Lease] | None = None
        self._slow_at = float("-inf")
        self.feed = Feed()
        self.view = MinerView(service)
        self.metrics = MinerMetrics(registry)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                changed = await asyncio.to_thread(self._look)
            except ComputeError as error:
                log.warning("leases_not_seen", why=str(error))
            else:
                for lease in changed:
                    self.feed.put("lease", row_of(lease).model_dump(mode="json"))
            await asyncio.sleep(WATCH_S)

    def _look(self) -> list[Lease]:
        ledger, now = self._host.ledger, self._host.clock.now()
        live = ledger.live()
        newest = {lease.id: lease for lease in (*ledger.recent(LOOKED_AT), *live)}
        kinds = Counter((lease.kind.value, lease.state.value) for lease in live)
        self.metrics.leases(kinds, sum(lease.due(now) for lease in live))
        if time.monotonic() - self._slow_at >= SLOWLY_S:
            self._slow_at = time.monotonic()
            self._look_slowly()
        seen, self._seen = self._seen, newest
        if seen is None:
            return []
        changed = [lease for lease in newest.values() if seen.get(lease.id) != lease]
        for lease in changed:
            self._count(seen.get(lease.id), lease)
        return changed

    def _count(self, before: Lease | None, lease: Lease) -> None:
        kind = lease.kind.value
        if lease.ready_at is not None and (before is None or before.ready_at is None):
            self.metrics.ready(kind, lease.ready_at - lease.created_at)
        if lease.ended_at is not None and (before is None or before.ended_at is None):
            on_time = lease.reason is EndReason.DEADLINE
            late_s = lease.ended_at - lease.expires_at if on_time else None
            self.metrics.ended(kind, lease.reason.value if lease.reason else "", late_s)

    def _look_slowly(self) -> None:
        self.metrics.engine(up=self.view.check_engine())
        specs = self._service.specs.reply()
        self.metrics.capacity("total", _amounts(specs.total))
        self.metrics.capacity("free", _amounts(specs.free))
        for disk in specs.hosts[0].disks:
            self.metrics.disk(disk.mount, disk.free_mib * MIB)
        for uuid, state in self._host.hardware.gpu_health().items():
            self.metrics.gpu(uuid, state.temperature_c, state.ecc_errors, state.xid)


def _amounts(capacity: Capacity) -> dict[str, float]:
    return {
        "gpus": capacity.gpus,
        "cpus": capacity.cpus,
        "memory_bytes": capacity.memory_mib * MIB,
        "disk_bytes": capacity.disk_mib * MIB,
        "leases": capacity.leases,
    }
