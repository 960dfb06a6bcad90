"""What the neurons count and gauge for Prometheus; `docs/telemetry.md` lists every name.

Each role makes its own object over a registry of its own, and hands it to whoever serves it. Only
what one would alert on, or plot over weeks, is here: a single miner's story is in the history.
"""

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from compute.domain.evidence import EvidenceKind, Outcome, Record
from compute.domain.measurement import ProbeContent, ProofContent
from compute.domain.score import Board
from compute.version import __version__

_PROOF_S = (0.5, 1, 2, 3, 4, 6, 8, 12, 20, 30, 60)
_VERIFY_S = (0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_READY_S = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120)
Read = Callable[[], float]


def new_registry(role: str) -> CollectorRegistry:
    """A registry with the process's own figures and the version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    Info("compute", "What runs here.", registry=registry).info(
        {"role": role, "version": __version__}
    )
    return registry


class ValidatorMetrics:
    """What a validator measures, pays, and how it fares."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"compute_validator_{name}", text, labels, registry=registry)

        self._measures = Counter(
            "compute_validator_measurements",
            "Measurements by kind and how they ended.",
            ("kind", "outcome", "reason"),
            registry=registry,
        )
        self._proof = _histogram(
            registry, "proof_seconds", "Whole proof sessions that passed.", _PROOF_S, "gpu_class"
        )
        self._verify = _histogram(
            registry, "proof_verify_seconds", "CPU time to check one proof session.", _VERIFY_S
        )
        self._ready = _histogram(
            registry, "probe_ready_seconds", "From asking for a lease to a login.", _READY_S
        )
        self._tops = gauge("proof_tops", "Operations per second and GPU, last proof.", "gpu_class")
        self._miners = gauge("miners", "Miners by how they stood at the last vector.", "state")
        self._gpus = gauge("gpus", "GPUs that the last vector paid for.", "gpu_class")
        self._share = gauge("miner_share", "Share of the last vector, 0 to 1.", "uid")
        self._epoch = gauge("weights_epoch_block", "First block of the last paid epoch.")
        self._block = gauge("block", "Newest block that was seen.")
        self._away = gauge("chain_away", "1 while the chain cannot be reached.")
        self._since = gauge("blocks_since_epoch", "Blocks since the epoch began.")
        self._tempo = gauge("tempo", "Blocks of an epoch.")
        self._evidence = gauge("evidence_seq", "Place of the newest record of evidence.")
        self._confirmed = gauge("weights_confirmed_block", "Block that took the last weights in.")
        self._lost = gauge("history_lost", "Items that the dashboard's history has lost.")
        self._pages = gauge("dashboard_pages", "Open pages of the dashboard.")

    def watch(
        self, *, block: Read, away: Read, since: Read, tempo: Read, lost: Read, pages: Read
    ) -> None:
        """Say where the gauges read their values; called from the thread that serves metrics."""
        for where, read in (
            (self._block, block),
            (self._away, away),
            (self._since, since),
            (self._tempo, tempo),
            (self._lost, lost),
            (self._pages, pages),
        ):
            where.set_function(read)

    def measured(self, record: Record) -> None:
        """Count a record of evidence."""
        self._evidence.set(record.seq)
        if not record.miner or record.kind is EvidenceKind.PENALTY:
            return
        self._measures.labels(record.kind, record.outcome, record.reason).inc()
        if record.outcome is not Outcome.PASSED:
            return
        if record.kind is EvidenceKind.PROOF:
            self._proven(ProofContent.model_validate(record.content))
        elif record.kind is EvidenceKind.PROBE:
            probe = ProbeContent.model_validate(record.content)
            self._ready.observe(probe.ready_ms / 1000)

    def _proven(self, proof: ProofContent) -> None:
        if not proof.gpus:
            return
        self._proof.labels(proof.gpus[0].gpu_class).observe(proof.seconds_ms / 1000)
        self._verify.observe(proof.verify_ms / 1000)
        for gpu in proof.gpus:
            self._tops.labels(gpu.gpu_class).set(gpu.tops_milli / 1000)

    def scored(self, board: Board, epoch_block: int, gpus: Mapping[str, int]) -> None:
        """Take an epoch's board.

        Args:
            board: as it is paid.
            epoch_block: first block of the epoch.
            gpus: how many GPUs of each class earned.
        """
        earning = sum(miner.score > 0 for miner in board.miners)
        self._epoch.set(epoch_block)
        self._miners.labels("earning").set(earning)
        self._miners.labels("unpaid").set(len(board.miners) - earning)
        whole = sum(board.vector.values()) or 1
        self._share.clear()
        for uid, weight in board.vector.items():
            self._share.labels(str(uid)).set(weight / whole)
        self._gpus.clear()
        for gpu_class, count in gpus.items():
            self._gpus.labels(gpu_class).set(count)

    def confirmed(self, block: int) -> None:
        """Note the block that took the newest weights in."""
        self._confirmed.set(block)


class MinerMetrics:
    """What a miner leases out, and how its host fares."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"compute_miner_{name}", text, labels, registry=registry)

        self._leases = gauge("leases", "Live leases by kind and state.", "kind", "state")
        self._ends = Counter(
            "compute_miner_lease_ends",
            "Leases that ended, by kind and reason.",
            ("kind", "reason"),
            registry=registry,
        )
        self._ready = Histogram(
            "compute_miner_lease_ready_seconds",
            "From a lease's request to a container that is ready for a login.",
            ("kind",),
            buckets=_READY_S,
            registry=registry,
        )
        self._late = Histogram(
            "compute_miner_lease_end_late_seconds",
            "How long after its deadline a lease was gone.",
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=registry,
        )
        self._capacity = gauge(
            "capacity", "What can be leased: total, and free now.", "resource", "scope"
        )
        self._engine = gauge("engine_up", "1 while the container engine answers.")
        self._overdue = gauge("leases_overdue", "Live leases whose deadline has passed.")
        self._disk = gauge("disk_free_bytes", "Free space of each file system.", "mount")
        self._hot = gauge("gpu_temperature_celsius", "Temperature of each GPU.", "uuid")
        self._ecc = gauge("gpu_ecc_errors", "Uncorrected memory errors of each GPU.", "uuid")
        self._xid = gauge("gpu_last_xid", "Last Xid error of each GPU; 0 none.", "uuid")

    def leases(self, live: Mapping[tuple[str, str], int], overdue: int) -> None:
        """Live leases by kind and state, and how many of them are overdue."""
        self._leases.clear()
        for (kind, state), count in live.items():
            self._leases.labels(kind, state).set(count)
        self._overdue.set(overdue)

    def ready(self, kind: str, seconds: float) -> None:
        """A lease became ready."""
        self._ready.labels(kind).observe(seconds)

    def ended(self, kind: str, reason: str, late_s: float | None) -> None:
        """A lease is gone; `late_s` where its deadline ended it."""
        self._ends.labels(kind, reason).inc()
        if late_s is not None:
            self._late.observe(max(0.0, late_s))

    def capacity(self, scope: str, amounts: Mapping[str, float]) -> None:
        """Capacity of a scope (total, free) by resource."""
        for resource, amount in amounts.items():
            self._capacity.labels(resource, scope).set(amount)

    def engine(self, *, up: bool) -> None:
        """Whether the engine answers."""
        self._engine.set(up)

    def disk(self, mount: str, free_bytes: float) -> None:
        """Free space of a file system."""
        self._disk.labels(mount).set(free_bytes)

    def gpu(self, uuid: str, temperature_c: int | None, ecc_errors: int, xid: int) -> None:
        """One GPU's state."""
        if temperature_c is not None:
            self._hot.labels(uuid).set(temperature_c)
        self._ecc.labels(uuid).set(ecc_errors)
        self._xid.labels(uuid).set(xid)


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...], *labels: str
) -> Histogram:
    return Histogram(f"compute_validator_{name}", text, labels, buckets=buckets, registry=registry)
