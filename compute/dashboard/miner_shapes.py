"""What the readings of a miner's dashboard answer; no key, credential or variable is among it."""

from compute.dashboard.shapes import Shape


class Amounts(Shape):
    """An amount of what can be leased."""

    gpus: int
    cpus: int
    memory_mib: int
    disk_mib: int
    leases: int


class GpuCard(Shape):
    """One GPU of this host.

    Attributes:
        lease: id of the lease that holds it; empty when none does.
        unfit: why it is not given out; empty when it may be.
    """

    index: int
    uuid: str
    model: str
    memory_mib: int
    temperature_c: int | None
    ecc_errors: int
    xid: int
    lease: str
    unfit: str


class DiskCard(Shape):
    """One file system."""

    mount: str
    total_mib: int
    free_mib: int


class HostCard(Shape):
    """The machine."""

    cpu_model: str
    cpus: int
    memory_mib: int
    driver: str
    gpu_note: str
    software: dict[str, str]
    disks: tuple[DiskCard, ...]


class LeaseRow(Shape):
    """One lease in the list.

    Attributes:
        owner: hotkey (ss58) that asked for it.
        ready_ms: from the request to a container that is ready for a login.
        reason: why it ended, in a word; empty while it runs.
    """

    id: str
    kind: str
    state: str
    owner: str
    created_ms: int
    ready_ms: int | None
    expires_ms: int
    ended_ms: int | None
    reason: str
    error: str
    gpus: int
    cpus: int
    memory_mib: int


class LeasePage(Shape):
    """One page of leases, newest first."""

    total: int
    page: int
    size: int
    rows: tuple[LeaseRow, ...]


class EventShape(Shape):
    """One line of a lease's timeline."""

    at_ms: int
    event: str
    detail: str


class TeardownShape(Shape):
    """The signed statement that a lease is gone."""

    ended_ms: int
    checks: tuple[str, ...]
    hotkey: str
    signature: str


class PortShape(Shape):
    """A container's port and the host's port that leads to it."""

    container: int
    host: int


class LeaseDetail(Shape):
    """One lease with its timeline."""

    row: LeaseRow
    managers: tuple[str, ...]
    image: str
    container: str
    trace: str
    gpu_uuids: tuple[str, ...]
    cpu_ids: tuple[int, ...]
    disk_mib: int
    shm_mib: int
    ports: tuple[PortShape, ...]
    test_slot: bool
    idle_stop_s: int
    detail: str
    events: tuple[EventShape, ...]
    teardown: TeardownShape | None


class MinerOverview(Shape):
    """The machine now.

    Attributes:
        engine_up: whether the container engine answered when it was last asked.
        overdue: live leases whose deadline has passed.
    """

    engine: str
    engine_up: bool
    total: Amounts
    free: Amounts
    host: HostCard
    gpus: tuple[GpuCard, ...]
    live: tuple[LeaseRow, ...]
    overdue: int
    ended_day: int
    failed_day: int


class LaneShape(Shape):
    """One lease as a bar on the board of leases."""

    id: str
    kind: str
    state: str
    start_ms: int
    end_ms: int
    expires_ms: int
    lane: int


class LanesShape(Shape):
    """Leases as bars over a span: tests in the first lane, others where they touch nothing."""

    start_ms: int
    end_ms: int
    now_ms: int
    lanes: int
    bars: tuple[LaneShape, ...]


class ImageRow(Shape):
    """One image that the engine holds."""

    id: str
    references: tuple[str, ...]
    size_mib: int
    created_ms: int
    default: bool
    leases: int
