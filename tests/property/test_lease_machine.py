"""Random lives of a miner: requests, crashes, engine faults, reboots and clock jumps, in any order.

After every step the ledger and the engine must be explicable; after a restart and a sweep they must
agree exactly with a model that knows only what was promised to renters.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from compute.domain.container import KIND, LEASE, ContainerState, container_name
from compute.domain.lease import EndReason, LeaseKind, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, EngineError
from compute.miner.service import MinerService, open_service
from compute.protocol.synapses import (
    AllocateRequest,
    ChallengeRequest,
    ChallengeStep,
    LeaseAction,
)
from compute.settings.leases import LeaseSettings, WarmSettings
from compute.testing.crash import Crash, Fuse, Fused
from compute.testing.engine import FakeEngine
from compute.testing.host import FakeHardware, ManualClock
from compute.testing.leases import FakeRenter
from compute.testing.wallets import dev_wallet

LONGEST_S = 2000
EXAMPLES = 600 if os.environ.get("COMPUTE_FULL") else 40
FAULTS = ("create", "put_files", "start", "stop", "remove", "pause", "unpause", "containers")
CRASHES = st.one_of(st.just(0), st.integers(1, 30))
RUNNING = {LeaseState.ACTIVE, LeaseState.PAUSED}


def check_disjoint(*kinds: list[Any]) -> None:
    """No thing of any kind is there twice."""
    for things in kinds:
        assert len(things) == len(set(things))


# A worker thread that crashes dies as its process would; pytest would tell of it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class MinerLife(RuleBasedStateMachine):
    """One miner's state folder and engine, over many processes."""

    @initialize()
    def begin(self) -> None:
        """A fresh folder, an empty engine."""
        self.folder = Path(tempfile.mkdtemp(prefix="lease-machine-"))
        self.engine = FakeEngine(cpus=4, memory_mib=8192)
        self.clock = ManualClock()
        self.hardware = FakeHardware(gpus=2)
        self.fuse = Fuse()
        # What renters were promised: lease id to the uptime (summed over boots) of its deadline.
        self.promised: dict[str, float] = {}
        self.paused: set[str] = set()
        self.lived = 0.0
        self.last_request: tuple[AllocateRequest, str | None] | None = None
        self.service = self.start()

    def start(self) -> MinerService:
        """What a new process of the miner does."""
        service = open_service(
            LeaseSettings(
                state=self.folder,
                guard=False,
                longest_lease_s=LONGEST_S,
                last_port=20007,
                warm=WarmSettings(size=1, ttl_s=500, shape=Requirement(memory_mib=512)),
            ),
            key=dev_wallet("Alice").hotkey,
            image="base:latest",
            program=lambda: b"program",
            engine=self.engine,
            hardware=self.hardware,
            clock=self.clock,
            ready=lambda _address, _port, _timeout: None,
        )
        self.fuse = Fuse()
        fused = replace(
            service.host,
            engine=Fused(service.host.engine, self.fuse),
            ledger=Fused(service.host.ledger, self.fuse),
        )
        service = MinerService(
            fused,
            advertised="127.0.0.2",
            database=service.database,
            program=lambda: b"program",
            guard=False,
        )
        service.manager.pool.open()
        service.reconcile()
        assert service.manager.settle(10)
        service.reconciler.engine()
        self.renter = FakeRenter(service)
        return service

    def attempt(self, call: Callable[[], Any]) -> Any:
        """Do something that may fail or crash; after a crash the miner is started again."""
        try:
            return call()
        except ComputeError:
            return None
        except Crash:
            self.restart()
            return None

    @rule(
        seconds=st.integers(5, 600),
        cpus=st.integers(1, 3),
        gpus=st.integers(0, 2),
        kind=st.sampled_from(["rental", "probe"]),
        crash=CRASHES,
    )
    def allocate(self, seconds: int, cpus: int, gpus: int, kind: str, crash: int) -> None:
        """Somebody asks for a lease; the process may die on the way."""
        self.crash_soon(crash)
        requirement = Requirement(cpus=cpus, gpus=gpus, memory_mib=512)
        request = self.renter.request(duration_s=seconds, requirement=requirement, kind=kind)
        before = self.lived
        context = self.renter.context()
        reply = self.attempt(lambda: self.service.handle_allocate(request, context))
        if reply is not None:
            self.promised[reply.lease_id] = before + seconds
        self.last_request = (request, reply.lease_id if reply else None)

    @precondition(lambda self: self.last_request is not None)
    @rule()
    def repeat(self) -> None:
        """The last request is sent again: the same lease, or an error, but never a second one."""
        assert self.last_request is not None
        request, lease_id = self.last_request
        context = self.renter.context()
        reply = self.attempt(lambda: self.service.handle_allocate(request, context))
        if reply is None:
            return
        if lease_id is None:  # the first answer was lost in a crash, or nothing was free then
            ledger = self.inner_ledger()
            remaining = ledger.get(reply.lease_id).deadline.remaining_s(self.clock.now())
            self.promised.setdefault(reply.lease_id, self.lived + remaining)
            self.last_request = (request, reply.lease_id)
        else:
            assert reply.lease_id == lease_id

    @precondition(lambda self: self.promised)
    @rule(data=st.data(), action=st.sampled_from(list(LeaseAction)), crash=CRASHES)
    def operate(self, data: st.DataObject, action: LeaseAction, crash: int) -> None:
        """The owner of a lease does something with it; the process may die on the way."""
        self.crash_soon(crash)
        lease_id = data.draw(st.sampled_from(sorted(self.promised)))
        arguments: dict[str, Any] = {}
        if action is LeaseAction.EXTEND:
            arguments["duration_s"] = data.draw(st.integers(1, 300))
        if action is LeaseAction.EXCHANGE_KEY:
            arguments["ssh_public_key"] = self.renter.ssh.public
        reply = self.attempt(lambda: self.renter.operate(lease_id, action, **arguments))
        if reply is None and action in {LeaseAction.RELEASE, LeaseAction.EXTEND}:
            self.learn(lease_id)
        elif reply is not None and action is LeaseAction.RELEASE:
            self.promised.pop(lease_id)
        elif reply is not None and action is LeaseAction.EXTEND:
            self.promised[lease_id] += arguments["duration_s"]

    def learn(self, lease_id: str) -> None:
        """An operation's outcome is unknown: either is right, so take over what the ledger says."""
        lease = self.inner_ledger().get(lease_id)
        if lease.state in RUNNING:
            remaining = lease.deadline.remaining_s(self.clock.now())
            assert remaining >= self.promised[lease_id] - self.lived - 0.001
            self.promised[lease_id] = self.lived + remaining
        else:
            self.promised.pop(lease_id)

    @rule(gpus=st.sampled_from([(), ("GPU-0",), ("GPU-0", "GPU-1")]), close=st.booleans())
    def challenge(self, gpus: tuple[str, ...], close: bool) -> None:
        """A validator opens a session, and may close it."""
        request = ChallengeRequest(step=ChallengeStep.OPEN, gpus=gpus)
        context = self.renter.context()
        reply = self.attempt(lambda: self.service.handle_challenge(request, context))
        if reply is not None and close:
            end = ChallengeRequest(step=ChallengeStep.CLOSE, session=reply.session)
            self.attempt(lambda: self.service.handle_challenge(end, context))

    @rule(seconds=st.integers(1, 400), crash=CRASHES)
    def wait(self, seconds: int, crash: int) -> None:
        """Time passes, and the sweep comes by; the process may die on the way."""
        self.crash_soon(crash)
        self.clock.advance(seconds)
        self.lived += seconds
        self.sweep()

    @rule(crash=CRASHES)
    def fill(self, crash: int) -> None:
        """The warm pool is filled; the process may die on the way."""
        self.crash_soon(crash)
        self.attempt(self.service.manager.pool.refill)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def jump(self, seconds: int) -> None:
        """Somebody sets the wall clock."""
        self.clock.jump(seconds)
        self.sweep()

    def crash_soon(self, points: int) -> None:
        """The process will die so many calls from now; 0 leaves it alive."""
        if points:
            self.fuse.blow_at = len(self.fuse.passed) + points

    @rule()
    def restart(self) -> None:
        """The miner is killed and started again."""
        self.fuse.blown = True
        self.service.manager.close(0.1)
        self.engine.fault = lambda _: None
        self.service = self.start()

    @rule(reboot=st.booleans())
    def restart_engine(self, reboot: bool) -> None:
        """The engine restarts, alone or with its host."""
        self.engine.reboot()
        if reboot:
            # What the wall clock was set to does not survive a reboot here: NTP puts it right.
            wrong = self.clock.now().wall - 1_700_000_000.0 - self.lived
            self.clock.jump(-wrong)
            self.clock.reboot(30)
            self.lived += 30
            for lease_id in self.promised:
                # By the wall clock now, but a clock that was wrong then lengthens no lease.
                wall = self.inner_ledger().get(lease_id).deadline.wall
                until = self.lived + wall - self.clock.now().wall
                self.promised[lease_id] = min(self.promised[lease_id], until)
            self.restart()
        else:
            self.sweep()

    @rule(fault=st.sampled_from(FAULTS))
    def engine_fault(self, fault: str) -> None:
        """One kind of engine call fails until the next heal."""

        def fail(call: str) -> None:
            if call == fault:
                raise EngineError(Code.ENGINE_FAILED, "injected")

        self.engine.fault = fail

    @rule()
    def heal(self) -> None:
        """The engine works again."""
        self.engine.fault = lambda _: None
        self.sweep()

    def sweep(self) -> None:
        """What the sweep thread does every second."""

        def once() -> None:
            self.service.reconciler.deadlines()
            self.service.manager.settle(10)
            self.service.reconciler.quietly()
            self.service.manager.settle(10)

        self.attempt(once)

    @invariant()
    def nothing_is_given_out_twice(self) -> None:
        """Live leases hold disjoint GPUs, rental processors and ports."""
        held = self.inner_ledger().held()
        check_disjoint(
            [uuid for one in held for uuid in one.gpus],
            [cpu for one in held if not one.test_slot for cpu in one.cpus],
            [port.host for one in held for port in one.ports],
        )

    @invariant()
    def no_two_containers_share(self) -> None:
        """The same for what is really there, whatever the ledger thinks of it."""
        there = [one.spec for one in self.engine.all.values()]
        rentals = [spec for spec in there if spec.labels[KIND] == LeaseKind.RENTAL]
        check_disjoint(
            [uuid for spec in there for uuid in spec.gpus],
            [cpu for spec in rentals for cpu in spec.limits.cpus],
            [port.host for spec in there for port in spec.publish],
        )

    @invariant()
    def no_promise_is_broken(self) -> None:
        """A promised lease is not ended before its time, unless it failed for a stated reason."""
        for lease_id, until in tuple(self.promised.items()):
            lease = self.inner_ledger().get(lease_id)
            if lease.reason is EndReason.DEADLINE:
                assert self.lived >= until - 0.001
                del self.promised[lease_id]
            elif lease.reason in {EndReason.FAULT, EndReason.LOST}:
                assert lease.error
                assert lease.detail
                del self.promised[lease_id]
            else:
                assert lease.state in RUNNING

    def inner_ledger(self) -> Any:
        """The ledger as it is, whether the fuse is blown or not."""
        return self.service.host.ledger._inner

    def teardown(self) -> None:
        """A healthy engine, a restart and a sweep: engine and ledger agree, and nothing is late."""
        if not hasattr(self, "service"):
            return
        self.restart()
        self.sweep()
        self.sweep()
        live = {lease.id: lease for lease in self.inner_ledger().live()}
        there = {one.spec.labels[LEASE]: one for one in self.engine.all.values()}
        assert self.inner_ledger().warm() == ()
        assert set(live) == set(there)
        for lease_id, lease in live.items():
            assert there[lease_id].name == container_name(lease_id, lease.deadline)
        for lease_id, lease in live.items():
            paused = lease.state is LeaseState.PAUSED
            wanted = ContainerState.PAUSED if paused else ContainerState.RUNNING
            assert there[lease_id].state is wanted
            assert not lease.due(self.clock.now())
        self.no_promise_is_broken()
        assert set(self.promised) <= set(live)
        self.service.manager.close(0.1)
        self.service.database.dispose()
        shutil.rmtree(self.folder)


MinerLife.TestCase.settings = hypothesis_settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None
)
TestMinerLife = MinerLife.TestCase
