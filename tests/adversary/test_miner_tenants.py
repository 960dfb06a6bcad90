"""What a tenant, or a hotkey that asks for much, tries against a miner: it comes to nothing."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compute.adapters.engine.disk import LoopDisks, PlainDisks
from compute.domain import lease as life
from compute.domain.lease import EndReason, LeaseState
from compute.domain.requirement import Requirement
from compute.domain.timeline import Instant
from compute.errors import Code, ComputeError, EngineError
from compute.miner import operations
from compute.miner.reaper import given_up
from compute.miner.service import MinerService
from compute.protocol.synapses import (
    ChallengeRequest,
    ChallengeStep,
    DiskEnforcement,
    LeaseAction,
)
from compute.settings.leases import SlotSettings
from compute.testing.engine import FakeEngine
from compute.testing.host import FakeHardware, ManualClock
from compute.testing.leases import Build, FakeRenter, building

SMALL = Requirement(memory_mib=64)


@pytest.fixture
def engine() -> FakeEngine:
    """An engine in memory."""
    return FakeEngine()


@pytest.fixture
def clock() -> ManualClock:
    """Time that only the test moves."""
    return ManualClock()


@pytest.fixture
def build(tmp_path: Path, engine: FakeEngine, clock: ManualClock) -> Iterator[Build]:
    """Makes services on one state folder, as restarts of a miner do."""
    with building(tmp_path, engine, clock) as make:
        yield make


def refusal(call: Callable[[], object]) -> Code:
    with pytest.raises(ComputeError) as refused:
        call()
    return refused.value.code


def challenge(renter: FakeRenter) -> str:
    request = ChallengeRequest(step=ChallengeStep.OPEN)
    return renter.service.handle_challenge(request, renter.context()).session


# --- deadlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        (LeaseAction.RESTART, {}),
        (LeaseAction.PAUSE, {}),
        (LeaseAction.LOGS, {}),
        (LeaseAction.EXTEND, {"duration_s": 600}),
    ],
)
def test_an_operation_after_the_deadline_ends_the_lease(
    build: Build, clock: ManualClock, action: LeaseAction, arguments: dict[str, object]
):
    """Whoever holds the lock when time is up ends the lease, even if the sweep never gets it."""
    service = build()
    tenant = FakeRenter(service)
    lease_id = tenant.allocate(duration_s=60).lease_id
    clock.advance(61)
    assert refusal(lambda: tenant.operate(lease_id, action, **arguments)) is Code.LEASE_STATE
    over = service.host.ledger.get(lease_id)
    assert (over.state, over.reason) == (LeaseState.ENDED, EndReason.DEADLINE)


def test_operations_do_not_pile_up_on_one_lease(build: Build, monkeypatch: pytest.MonkeyPatch):
    """While one operation is under way the next is told so, instead of holding a worker."""
    monkeypatch.setattr(operations, "TURN_S", 0.05)
    service = build()
    tenant = FakeRenter(service)
    lease_id = tenant.allocate().lease_id
    said: list[Code] = []

    def operate() -> None:
        said.append(refusal(lambda: tenant.operate(lease_id, LeaseAction.RESTART)))

    with service.manager.locks.hold(lease_id):
        other = threading.Thread(target=operate, daemon=True)
        other.start()
        other.join(10)
    assert said == [Code.BUSY]


def test_a_clock_that_is_not_set_lengthens_no_lease(build: Build, clock: ManualClock):
    """After a reboot into 1970 a lease has at most its own length left."""
    service = build()
    lease_id = FakeRenter(service).allocate(duration_s=600).lease_id
    lease = service.host.ledger.get(lease_id)
    booted = Instant(5.0, 5.0, "22222222")
    assert life.anchor(lease, booted).deadline.remaining_s(booted) == 600
    later = Instant(lease.created_at + 590, 5.0, "22222222")
    assert life.anchor(lease, later).deadline.remaining_s(later) == 10


def test_a_guard_waits_for_an_engine_that_restarts(tmp_path: Path):
    """With live-restore containers outlive the engine: their guard is there when it is back."""
    assert not given_up(tmp_path, 3600)
    assert given_up(tmp_path, 2 * 86_400)
    assert given_up(tmp_path / "removed", 1)


# --- GPUs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD"])
def test_the_gpu_runtimes_variables_are_not_the_tenants(build: Build, name: str):
    """What the GPU runtime obeys cannot come with a request."""
    tenant = FakeRenter(build())
    assert refusal(lambda: tenant.allocate(environment={name: "all"})) is Code.UNSUPPORTED


def test_a_container_has_the_gpus_of_its_lease_and_no_other(build: Build, engine: FakeEngine):
    """The runtime is told the assigned GPUs, or that there are none, whatever the image says."""
    tenant = FakeRenter(build(FakeHardware(gpus=2)))
    tenant.allocate(environment={"A": "b"})
    tenant.allocate(requirement=Requirement(gpus=1))
    challenge(tenant)
    seen = [dict(one.spec.environment) for one in engine.all.values()]
    assert seen == [
        {"A": "b", "NVIDIA_VISIBLE_DEVICES": "void"},
        {"NVIDIA_VISIBLE_DEVICES": "GPU-0"},
        {"NVIDIA_VISIBLE_DEVICES": "void"},
    ]


# --- promises -------------------------------------------------------------------------------------


class RecordingFirewall:
    """A packet filter that notes what it was asked, and can refuse."""

    def __init__(self) -> None:
        self.protected: list[str] = []
        self.broken = False

    def protect(self, bridge: str) -> None:
        """Note it."""
        if self.broken:
            raise EngineError(Code.HOST_UNFIT, "injected")
        self.protected.append(bridge)

    def release(self, bridge: str) -> None:
        """Nothing to note."""


def with_port(service: MinerService, **ports: object) -> None:
    """Give a composed host another port."""
    for name, port in ports.items():
        object.__setattr__(service.host, name, port)


def test_leases_that_outlive_a_miner_are_filtered_again(build: Build):
    """A restarted miner puts its filter back at once, and tries again where it could not."""
    FakeRenter(build()).allocate()
    service, firewall = build(), RecordingFirewall()
    with_port(service, firewall=firewall)
    firewall.broken = True
    service.reconcile()
    assert firewall.protected == []
    firewall.broken = False
    service.reconciler.quietly()
    assert firewall.protected == [service.host.network.bridge]
    later = build()
    with_port(later, firewall=firewall)
    later.reconcile()
    assert len(firewall.protected) == 2


def test_no_lease_no_network(build: Build, engine: FakeEngine):
    """A miner without leases leaves the host's network alone."""
    service, firewall = build(), RecordingFirewall()
    with_port(service, firewall=firewall)
    service.reconcile()
    service.reconciler.quietly()
    assert firewall.protected == []
    assert engine.network_labels == {}


class LayerDisks(PlainDisks):
    """The real measure, on a folder that stands for every container's layer."""

    def __init__(self, layer: Path) -> None:
        super().__init__(DiskEnforcement.WATCH, layer)
        self._layer = layer

    def used_mib(self, layer: str) -> int | None:
        """Measure the folder."""
        assert layer
        return super().used_mib(str(self._layer))


def test_a_lease_over_its_disk_is_ended(build: Build, engine: FakeEngine, tmp_path: Path):
    """Where disk sizes are held by looking, whoever writes more is evicted and told how much."""
    service = build()
    with_port(service, disks=LayerDisks(tmp_path))
    deep = tmp_path / "diff"
    deep.mkdir()
    tenant = FakeRenter(service)
    lease_id = tenant.allocate(requirement=Requirement(disk_mib=8)).lease_id
    (deep / "first").write_bytes(bytes(6 << 20))
    service.disk_watch.look()
    assert service.manager.settle(5)
    assert service.host.ledger.get(lease_id).state is LeaseState.ACTIVE
    (deep / "second").write_bytes(bytes(6 << 20))
    service.disk_watch.look()
    assert service.manager.settle(5)
    told = tenant.operate(lease_id, LeaseAction.STATUS)
    assert (told.state, told.reason) == (LeaseState.ENDED, EndReason.EVICTED)
    assert told.detail.endswith("MiB to its disk of 8 MiB")
    assert engine.all == {}


def test_a_miner_promises_to_watch_where_it_can(
    build: Build, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only a miner that can read containers' layers offers to hold sizes by looking, and looks."""
    here = replace(engine.info(), local=True, root=str(tmp_path), storage_driver="overlay2")
    monkeypatch.setattr(engine, "info", lambda: here)
    asked = {"disk": "watch", "firewall": "off"}
    assert refusal(lambda: build(**asked)) is Code.HOST_UNFIT
    (tmp_path / "overlay2").mkdir()
    for disk in ("watch", "none"):
        service = build(state=tmp_path / disk, firewall="off", disk=disk)
        service.start()
        running = [one for one in threading.enumerate() if one.name.endswith("-disks")]
        service.stop(1)
        assert service.host.disks.enforcement.value == disk
        assert bool(running) == (disk == "watch")
        for one in running:
            one.join(20)


def test_a_deep_tree_hides_nothing(tmp_path: Path):
    """What lies deeper than a path may be long is counted as well."""
    (tmp_path / "diff").mkdir()
    with contextlib.chdir(tmp_path / "diff"):
        for _ in range(30):
            name = "d" * 200
            Path(name).mkdir()
            os.chdir(name)
        Path("hidden").write_bytes(bytes(5 << 20))
    disks = PlainDisks(DiskEnforcement.WATCH, tmp_path)
    assert (disks.used_mib(str(tmp_path)) or 0) >= 5


def test_what_a_killed_miner_left_of_a_disk_is_found(tmp_path: Path):
    """A disk that was being made when the miner was killed is known, and can be destroyed."""
    disks = LoopDisks(tmp_path)
    (tmp_path / f"{'a' * 32}.new").write_bytes(b"half")
    assert disks.known() == ("a" * 32,)
    disks.destroy("a" * 32)
    assert list(tmp_path.iterdir()) == []


# --- shares ---------------------------------------------------------------------------------------


def test_one_hotkey_cannot_fill_the_test_slot(build: Build):
    """A hotkey has one probe and one challenge at once; the rest of the slot is for others."""
    service = build(test=SlotSettings(memory_mib=4096))
    greedy, other = FakeRenter(service, "Eve"), FakeRenter(service, "Dave")
    probe = greedy.allocate(kind="probe", requirement=SMALL).lease_id
    again = {"kind": "probe", "requirement": SMALL}
    assert refusal(lambda: greedy.allocate(**again)) is Code.BUSY
    assert not greedy.allocate(**again, checking=True).available
    challenge(greedy)
    challenge(greedy)
    assert other.allocate(**again).available
    assert challenge(other)
    greedy.operate(probe, LeaseAction.RELEASE)
    assert greedy.allocate(**again).available


def test_challenges_opened_at_once_are_still_one(build: Build, engine: FakeEngine):
    """A validator that opens many sessions in the same moment gets one."""
    validator = FakeRenter(build())
    opened = threading.Barrier(4)
    held: list[bool] = []

    def open_one() -> None:
        opened.wait(10)
        try:
            challenge(validator)
        except ComputeError as refused:
            held.append(refused.code is Code.BUSY)

    threads = [threading.Thread(target=open_one, daemon=True) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert all(held)
    assert len(engine.all) == 1


def test_a_hotkey_has_at_most_its_share_of_rentals(build: Build):
    """Beyond the setting a hotkey waits, a repeat of its own request excepted; others do not."""
    service = build(most_per_owner=2)
    greedy = FakeRenter(service, "Eve")
    first = greedy.request(requirement=SMALL)
    reply = service.handle_allocate(first, greedy.context())
    greedy.allocate(requirement=SMALL)
    assert refusal(lambda: greedy.allocate(requirement=SMALL)) is Code.BUSY
    assert service.handle_allocate(first, greedy.context()).lease_id == reply.lease_id
    assert FakeRenter(service, "Dave").allocate(requirement=SMALL).available
    greedy.operate(reply.lease_id, LeaseAction.RELEASE)
    assert greedy.allocate(requirement=SMALL).available
