"""The miner's container side as one object: what an axon's handlers and a process's life need."""

import fcntl
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine as Database

from compute.adapters.engine.docker import DockerEngine
from compute.adapters.engine.firewall import choose_firewall
from compute.adapters.engine.ready import wait_for_banner
from compute.adapters.engine.shaping import limit_egress
from compute.adapters.hardware.activity import activity
from compute.adapters.hardware.clock import SystemClock
from compute.adapters.hardware.machine import LocalHardware
from compute.domain.lease import EndReason
from compute.errors import Code, ComputeError, EngineError, UsageError
from compute.miner.alarms import Alarms
from compute.miner.allocation import Allocator
from compute.miner.challenges import ChallengeDesk
from compute.miner.disks import choose_disks
from compute.miner.diskwatch import DiskWatch
from compute.miner.guard import Guard
from compute.miner.host import Host
from compute.miner.images import ImageDesk
from compute.miner.manager import LeaseManager, is_session
from compute.miner.operations import Operations
from compute.miner.patrol import Patrol
from compute.miner.reaper import MINER_LOCK
from compute.miner.reconcile import Reconciler
from compute.miner.rounds import Round, Rounds
from compute.miner.specs import SpecsDesk
from compute.miner.supply import measure
from compute.ports.engine import Engine
from compute.ports.hardware import Hardware, HostClock
from compute.protocol.context import RequestContext
from compute.protocol.keys import Key
from compute.protocol.synapses import (
    ALLOCATE,
    CHALLENGE,
    LEASE,
    SPECS,
    AllocateReply,
    AllocateRequest,
    ChallengeReply,
    ChallengeRequest,
    LeaseReply,
    LeaseRequest,
    SpecsReply,
    SpecsRequest,
    Synapse,
)
from compute.settings.leases import LeaseSettings
from compute.storage.database import Role, open_database
from compute.storage.images import SqlImages
from compute.storage.ledger import SqlLedger
from compute.telemetry.logs import get
from compute.telemetry.trace import bound

ENGINE_EVERY_S = 10.0
FILL_EVERY_S = 0.1
TIDY_EVERY_S = 3600.0
GUARD_EVERY_S = 15.0
_LOCK_S = 3.0
_log = get("miner")


class MinerService:
    """Leases one host out. Every `handle_*` may be called from any thread.

    Args:
        host: what it works with, see `open_service`.
        advertised: address that renters dial.
        database: of the ledger; alarms are kept in it.
        program: the prover's program.
        guard: whether a guard process runs beside it.
    """

    def __init__(
        self,
        host: Host,
        *,
        advertised: str,
        database: Database,
        program: Callable[[], bytes],
        guard: bool = True,
    ) -> None:
        self.host = host
        self.database = database
        self.manager = LeaseManager(host, advertised)
        self.challenges = ChallengeDesk(self.manager, program)
        self.images = ImageDesk(self.manager, SqlImages(database))
        self.allocator = Allocator(self.manager, self.images)
        self.operations = Operations(self.manager)
        self.specs = SpecsDesk(self.manager, self.images)
        self.reconciler = Reconciler(self.manager)
        self.patrol = Patrol(self.manager)
        self.disk_watch = DiskWatch(self.manager)
        settings = host.settings
        owner = host.ledger.owner
        self._alarms = Alarms(database, owner, self.manager.ring)
        self._guard = Guard(settings.state, settings.engine, owner) if guard else None
        self.manager.on_deadline = self._alarms.set
        self.manager.on_end = self._lease_ends
        self._rounds = Rounds()
        self._lock: IO[str] | None = None

    # --- handlers ------------------------------------------------------------------------------

    def handle_specs(self, request: SpecsRequest, context: RequestContext) -> SpecsReply:  # noqa: ARG002
        """What this miner claims to have."""
        return self.specs.reply()

    def handle_allocate(self, request: AllocateRequest, context: RequestContext) -> AllocateReply:
        """Make a lease, or say whether it could be made."""
        with bound(trace=context.trace):
            return self.allocator.handle(request, context)

    def handle_lease(self, request: LeaseRequest, context: RequestContext) -> LeaseReply:
        """Operate on a lease."""
        with bound(trace=context.trace, lease=request.lease_id):
            return self.operations.handle(request, context)

    def handle_challenge(
        self, request: ChallengeRequest, context: RequestContext
    ) -> ChallengeReply:
        """Do one step of a proof session."""
        with bound(trace=context.trace):
            return self.challenges.handle(request, context)

    def handlers(self) -> dict[Synapse[Any, Any], Callable[[Any, RequestContext], Any]]:
        """What to give an axon."""
        return {
            SPECS: self.handle_specs,
            ALLOCATE: self.handle_allocate,
            LEASE: self.handle_lease,
            CHALLENGE: self.handle_challenge,
        }

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Settle what an earlier process left, then keep deadlines until `stop`.

        Raises:
            UsageError: another miner works on the same state folder.
            EngineError: `ENGINE_AWAY` when the engine does not answer.
        """
        self._lock = _hold(self.host.settings.state / MINER_LOCK)
        if self._guard is not None:
            self._guard.ensure()
        self.manager.pool.open()
        self.reconcile()
        self._alarms.start()
        self._rounds = Rounds(*self._chores())
        self._rounds.start()

    def reconcile(self) -> None:
        """Compare ledger and engine, and settle the differences."""
        self.reconciler.at_start()

    def stop(self, grace_s: float = 8.0) -> None:
        """Take no new work, finish what is under way, end what cannot outlive this process.

        Rentals and probes keep running: the guard ends them should no miner come back. The
        settings' `on_stop` can have them ended instead.
        """
        self._rounds.stop(0.5)
        self._alarms.stop()
        # An engine that hangs must not keep the process: the next start does what is not done then.
        work = threading.Thread(
            target=self._wind_down, args=(grace_s,), name="lease-stop", daemon=True
        )
        work.start()
        work.join(grace_s)
        if work.is_alive():
            _log.warning("the engine hangs: the next start settles what is left")
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self.host.engine.close()

    def _wind_down(self, grace_s: float) -> None:
        if self._lock is None:  # it never started: the leases may be another miner's
            self.manager.close(0)
            return
        try:
            self.challenges.close()
            self.manager.pool.close()
            self._end_sessions()
            self.manager.close(grace_s)
            if not self.host.ledger.live():
                self.manager.network.remove()
                if self._guard is not None:
                    self._guard.stop()
        except ComputeError as failure:
            _log.warning("something is left behind", why=str(failure))

    def _end_sessions(self) -> None:
        """End what cannot outlive this process, or everything where the settings say so."""
        why = "the miner is stopping"
        for lease in self.host.ledger.live():
            if is_session(lease) or self.host.settings.on_stop == "end":
                self.manager.end_soon(lease.id, EndReason.EVICTED, why, wait=True)

    def _lease_ends(self, lease_id: str) -> None:
        self._alarms.cancel(lease_id)
        self.challenges.forget(lease_id)

    def _chores(self) -> Iterator[Round]:
        settings = self.host.settings
        yield Round("deadlines", settings.sweep_s, self.reconciler.deadlines)
        yield Round("engine", ENGINE_EVERY_S, self.reconciler.quietly)
        yield Round("patrol", settings.patrol_s, self.patrol.round)
        yield Round("warm", FILL_EVERY_S, self._fill)
        yield Round("tidy", TIDY_EVERY_S, self._tidy)
        if self.disk_watch.needed:
            yield Round("disks", settings.patrol_s, self.disk_watch.look)
        if self._guard is not None:
            yield Round("guard", GUARD_EVERY_S, self._guard.ensure)

    def _fill(self) -> None:
        """Keep the warm pool full while nobody waits for the engine."""
        if self.manager.drain.since is not None:
            self.manager.pool.drain()
        elif self.manager.calm():
            self.manager.pool.refill()

    def _tidy(self) -> None:
        """Forget old leases, and images beyond the budget."""
        self.host.ledger.forget(self.host.clock.now().wall - self.host.settings.keep_s)
        self.images.prune()


def open_service(
    settings: LeaseSettings,
    *,
    key: Key,
    image: str,
    program: Callable[[], bytes],
    advertised: str = "",
    engine: Engine | None = None,
    hardware: Hardware | None = None,
    clock: HostClock | None = None,
    ready: Callable[[str, int, float], None] = wait_for_banner,
) -> MinerService:
    """Compose a miner's service from its settings.

    Args:
        settings: of the host's leases.
        key: the miner's hotkey.
        image: reference of the default image; the engine has to hold it.
        program: the prover's program.
        advertised: address that renters dial, unless the settings name one.
        engine: instead of the one that the settings name.
        hardware: instead of this machine.
        clock: instead of the system's.
        ready: waits for an SSH banner.

    Raises:
        EngineError: `ENGINE_AWAY`, or `IMAGE_MISSING` when the image is not there.
        ComputeError: `STORAGE_FAILED`.
    """
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = engine or DockerEngine(settings.engine, settings.engine_timeout_s)
    info = engine.info()
    held = engine.image(image)
    if held is None:
        raise EngineError(Code.IMAGE_MISSING, image)
    if info.local:
        settings = _within_host(settings)
    hardware = hardware or LocalHardware(
        (Path(info.root) if info.local else settings.state,), {"engine": info.version}
    )
    clock = clock or SystemClock()
    firewall, reason = choose_firewall(
        settings.firewall,
        local=info.local,
        internet=settings.internet,
        private_networks=settings.private_networks,
    )
    if reason:
        _log.warning("leases can reach this host: there is no firewall", why=reason)
    database = open_database(settings.database_url, Role.MINER)
    ledger = SqlLedger(database, lambda: clock.now().wall)
    disks = choose_disks(settings, engine, info, held.id, ledger.owner)
    host = Host(
        settings=settings,
        key=key,
        image=held.id,
        engine=engine,
        info=info,
        ledger=ledger,
        hardware=hardware,
        clock=clock,
        supply=measure(settings, info, hardware.report(), disks.room_mib()),
        ready=ready,
        firewall=firewall,
        limit_egress=limit_egress,
        disks=disks,
        activity=activity,
    )
    return MinerService(
        host,
        advertised=settings.advertised_host or advertised or settings.bind_address,
        database=database,
        program=program,
        guard=settings.guard,
    )


def _within_host(settings: LeaseSettings) -> LeaseSettings:
    """A container cannot be given more open files than its engine has; nor, here, than we have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY or settings.open_files <= most:
        return settings
    _log.info("fewer open files than configured", open_files=most, configured=settings.open_files)
    return settings.model_copy(update={"open_files": most})


def _hold(path: Path) -> IO[str]:
    """Hold the miner's lock; the guard looks at it for a moment now and then, so try again."""
    file = path.open("a+")
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                file.close()
                raise UsageError("another miner works on this state folder") from None
            time.sleep(0.05)
        else:
            return file
