"""What a miner's dashboard shows: its own machine, what it leases out, and every lease's life.

Reads the ledger and asks the engine, so every call belongs into a thread.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from compute.dashboard.miner_shapes import (
    Amounts,
    DiskCard,
    EventShape,
    GpuCard,
    HostCard,
    ImageRow,
    LanesShape,
    LeaseDetail,
    LeasePage,
    LeaseRow,
    MinerOverview,
    PortShape,
    TeardownShape,
)
from compute.dashboard.occupancy import busy, lanes
from compute.dashboard.plots import line, plot
from compute.dashboard.shapes import Plot
from compute.domain.capacity import total
from compute.domain.history import DAY_MS, HOUR_MS, Range, Span
from compute.domain.lease import FAILURES, Lease
from compute.domain.requirement import Capacity
from compute.errors import AdmissionError, Code, ComputeError, LeaseError
from compute.miner.service import MinerService
from compute.ports.engine import ImageView

MOST_LEASES = 5000  # that plots and lists look back over
AGE_S = 5.0
AHEAD_MS = HOUR_MS
ValueT = TypeVar("ValueT")


@dataclass
class _Kept(Generic[ValueT]):
    """A slow reading that is asked for anew at most once in a while."""

    read: Callable[[], ValueT]
    at: float = float("-inf")
    value: ValueT | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def get(self) -> ValueT:
        with self._lock:
            now = time.monotonic()
            if self.value is None or now - self.at > AGE_S:
                self.value, self.at = self.read(), now
            return self.value


class MinerView:
    """Reads a miner's service."""

    def __init__(self, service: MinerService) -> None:
        self._service = service
        self._host = service.host
        self._images: _Kept[tuple[ImageView, ...]] = _Kept(self._host.engine.images)
        self._free: _Kept[Capacity] = _Kept(service.manager.free)
        self._unfit: _Kept[dict[str, str]] = _Kept(service.manager.unfit_gpus)
        self.engine_up = True

    def overview(self) -> MinerOverview:
        """The machine now."""
        specs = self._service.specs.reply()
        report = specs.hosts[0]
        live = self._host.ledger.live()
        now = self._host.clock.now()
        recent = self._since(now.wall * 1000 - DAY_MS)
        return MinerOverview(
            engine=self._host.info.version,
            engine_up=self.engine_up,
            total=_amounts(specs.total),
            free=_amounts(specs.free),
            host=HostCard(
                cpu_model=report.cpu_model,
                cpus=report.cpus,
                memory_mib=report.memory_mib,
                driver=report.driver,
                gpu_note=report.gpu_note,
                software=report.software,
                disks=tuple(DiskCard(**disk.model_dump()) for disk in report.disks),
            ),
            gpus=self._gpus(live),
            live=tuple(row_of(lease) for lease in reversed(live)),
            overdue=sum(lease.due(now) for lease in live),
            ended_day=sum(lease.ended_at is not None for lease in recent),
            failed_day=sum(lease.reason in FAILURES for lease in recent),
        )

    def _gpus(self, live: tuple[Lease, ...]) -> tuple[GpuCard, ...]:
        supply = self._host.supply.gpus
        if not supply:
            return ()
        health = self._host.hardware.gpu_health()
        holders = {uuid: lease.id for lease in live for uuid in lease.assignment.gpus}
        unfit = self._unfit.get()
        cards = []
        for gpu in supply:
            state = health.get(gpu.uuid)
            cards.append(
                GpuCard(
                    **gpu.model_dump(),
                    temperature_c=state.temperature_c if state else None,
                    ecc_errors=state.ecc_errors if state else 0,
                    xid=state.xid if state else 0,
                    lease=holders.get(gpu.uuid, ""),
                    unfit=unfit.get(gpu.uuid, ""),
                )
            )
        return tuple(cards)

    # --- Leases --------------------------------------------------------------------------------

    def page(self, kind: str, state: str, text: str, *, page: int, size: int) -> LeasePage:
        """One page of leases, newest first."""
        sought = text.strip().casefold()
        found = [
            lease
            for lease in self._host.ledger.recent(MOST_LEASES)
            if (not kind or lease.kind == kind)
            and (not state or (lease.live if state == "live" else lease.state == state))
            and (not sought or any(sought in part.casefold() for part in _words(lease)))
        ]
        shown = found[page * size : (page + 1) * size]
        return LeasePage(
            total=len(found), page=page, size=size, rows=tuple(row_of(one) for one in shown)
        )

    def lease(self, lease_id: str) -> LeaseDetail:
        """One lease with its timeline.

        Raises:
            AdmissionError: `NOT_FOUND`.
        """
        try:
            lease = self._host.ledger.get(lease_id)
        except LeaseError:
            raise AdmissionError(Code.NOT_FOUND, "no such lease") from None
        held, gone = lease.assignment, lease.teardown
        return LeaseDetail(
            row=row_of(lease),
            managers=lease.managers,
            image=lease.image,
            container=lease.container,
            trace=lease.trace,
            gpu_uuids=held.gpus,
            cpu_ids=held.cpus,
            disk_mib=held.disk_mib,
            shm_mib=held.shm_mib,
            ports=tuple(PortShape(container=p.container, host=p.host) for p in held.ports),
            test_slot=held.test_slot,
            idle_stop_s=lease.idle_stop_s,
            detail=lease.detail,
            events=tuple(
                EventShape(at_ms=int(m.at * 1000), event=m.event.value, detail=m.detail)
                for m in self._host.ledger.timeline(lease_id)
            ),
            teardown=TeardownShape(
                ended_ms=int(gone.ended_at * 1000),
                checks=gone.checks,
                hotkey=gone.hotkey,
                signature=gone.signature,
            )
            if gone
            else None,
        )

    def lanes(self, range_: Range, now_ms: int) -> LanesShape:
        """Leases as bars over a span that goes on a little into the future."""
        start, end = now_ms - range_.length_ms, now_ms + min(AHEAD_MS, range_.length_ms // 4)
        bars = lanes(self._since(start), start, end, now_ms)
        rows = max((bar.lane for bar in bars), default=-1) + 1
        return LanesShape(start_ms=start, end_ms=end, now_ms=now_ms, lanes=rows, bars=tuple(bars))

    def usage(self, range_: Range, now_ms: int) -> Plot:
        """Shares of the host in use over time, tests not counted, in parts of one."""
        span = Span.ending(now_ms, range_, 120)
        leases = [one for one in self._since(span.start_ms) if not one.assignment.test_slot]
        whole = total(self._host.supply)
        kinds: dict[str, tuple[int, Callable[[Lease], int]]] = {
            "GPUs": (whole.gpus, lambda lease: len(lease.assignment.gpus)),
            "CPUs": (whole.cpus, lambda lease: len(lease.assignment.cpus)),
            "memory": (whole.memory_mib, lambda lease: lease.assignment.memory_mib),
        }
        future = (now_ms - span.start_ms) // span.width_ms
        return plot(
            range_,
            span,
            [
                line(
                    name,
                    span,
                    {b: v / most for b, v in busy(leases, span, amount).items() if b <= future},
                )
                for name, (most, amount) in kinds.items()
                if most
            ],
        )

    def _since(self, start_ms: float) -> list[Lease]:
        """Leases that lived at or after a moment."""
        return [
            lease
            for lease in self._host.ledger.recent(MOST_LEASES)
            if lease.ended_at is None or lease.ended_at * 1000 >= start_ms
        ]

    # --- Images --------------------------------------------------------------------------------

    def images(self) -> list[ImageRow]:
        """Images that the engine holds, largest first.

        Raises:
            EngineError: `ENGINE_AWAY`.
        """
        uses: dict[str, int] = {}
        for lease in self._host.ledger.live():
            uses[lease.image] = uses.get(lease.image, 0) + 1
        rows = [
            ImageRow(
                id=image.id,
                references=image.references,
                size_mib=image.size_mib,
                created_ms=int(image.created_at * 1000),
                default=image.id == self._host.image,
                leases=uses.get(image.id, 0),
            )
            for image in self._images.get()
        ]
        return sorted(rows, key=lambda row: (not row.default, -row.size_mib))

    def check_engine(self) -> bool:
        """Ask the engine whether it is there."""
        try:
            self._host.engine.containers(self._host.ledger.owner)
        except ComputeError:
            self.engine_up = False
        else:
            self.engine_up = True
        return self.engine_up


def row_of(lease: Lease) -> LeaseRow:
    """A lease for the list."""
    ready = lease.ready_at
    return LeaseRow(
        id=lease.id,
        kind=lease.kind.value,
        state=lease.state.value,
        owner=lease.owner,
        created_ms=int(lease.created_at * 1000),
        ready_ms=None if ready is None else max(0, int((ready - lease.created_at) * 1000)),
        expires_ms=int(lease.expires_at * 1000),
        ended_ms=None if lease.ended_at is None else int(lease.ended_at * 1000),
        reason=lease.reason.value if lease.reason else "",
        error=lease.error,
        gpus=len(lease.assignment.gpus),
        cpus=len(lease.assignment.cpus),
        memory_mib=lease.assignment.memory_mib,
    )


def _words(lease: Lease) -> tuple[str, ...]:
    return (lease.id, lease.owner, lease.trace, lease.error, *lease.assignment.gpus)


def _amounts(capacity: Capacity) -> Amounts:
    return Amounts(**capacity.model_dump())
