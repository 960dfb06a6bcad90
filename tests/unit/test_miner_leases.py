"""The miner's leases on an engine in memory: idempotency, operations, failures, deadlines."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compute.crypto import possession
from compute.domain.container import ContainerState
from compute.domain.lease import EndReason, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import AdmissionError, Code, ComputeError, EngineError, LeaseError, UsageError
from compute.miner.service import MinerService
from compute.ports.hardware import GpuHealth
from compute.protocol.synapses import (
    ChallengeRequest,
    ChallengeStep,
    LeaseAction,
    LeaseArguments,
    LeaseReply,
    LeaseRequest,
    SpecsRequest,
    TeardownProof,
)
from compute.protocol.teardown import verify_teardown
from compute.settings.leases import SlotSettings, WarmSettings
from compute.testing.engine import FakeEngine
from compute.testing.host import FakeHardware, ManualClock
from compute.testing.leases import Build, FakeRenter, building


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


@pytest.fixture
def service(build: Build) -> MinerService:
    """One miner's service."""
    return build()


@pytest.fixture
def renter(service: MinerService) -> FakeRenter:
    """One renter."""
    return FakeRenter(service)


def code_of(call: Callable[[], object]) -> Code:
    with pytest.raises(ComputeError) as refused:
        call()
    return refused.value.code


def sweep(service: MinerService) -> None:
    service.reconciler.deadlines()
    assert service.manager.settle(5)
    service.reconciler.engine()
    assert service.manager.settle(5)


def proof_of(reply: LeaseReply) -> TeardownProof:
    assert reply.teardown is not None
    return reply.teardown


# --- making ---------------------------------------------------------------------------------------


def test_a_lease_is_made_and_its_credentials_open(service: MinerService, renter: FakeRenter):
    """The renter learns where to log in, and the miner can show the container."""
    reply = renter.allocate(ports=(8080,))
    credentials = renter.open(reply)
    lease = service.host.ledger.get(reply.lease_id)
    assert reply.state is LeaseState.ACTIVE
    assert credentials.port == lease.assignment.host_port(22)
    assert [(p.container, p.host) for p in credentials.ports] == [
        (8080, lease.assignment.host_port(8080))
    ]
    assert credentials.expires_at == reply.expires_at == lease.created_at + 600


def test_only_asking_reserves_nothing(service: MinerService, renter: FakeRenter):
    """`checking` answers from the same account, and leaves no trace."""
    assert renter.allocate(checking=True).available
    assert not renter.allocate(checking=True, requirement=Requirement(cpus=500)).available
    assert service.host.ledger.recent(10) == ()


def test_fifty_repeats_at_once_make_one_lease(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """The same idempotency key sent fifty times at once gives one lease to all of them."""
    request = renter.request(idempotency_key="the-one-and-only")
    replies: list[str] = []

    def ask() -> None:
        replies.append(service.handle_allocate(request, renter.context()).lease_id)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 50
    assert len(set(replies)) == 1
    assert len(engine.all) == 1


def test_a_key_is_not_reused_for_something_else(renter: FakeRenter):
    """The same key with another content is refused."""
    renter.allocate(idempotency_key="same-key-1")
    assert (
        code_of(lambda: renter.allocate(idempotency_key="same-key-1", duration_s=601))
        is Code.IDEMPOTENCY
    )


def test_a_failure_is_remembered_under_its_key(renter: FakeRenter, engine: FakeEngine):
    """A repeat of a request that failed hears the same error, and makes no second lease."""

    def fail(call: str) -> None:
        if call == "start":
            raise EngineError(Code.DISK_FULL, "no space")

    engine.fault = fail
    request = {"idempotency_key": "failing-key"}
    assert code_of(lambda: renter.allocate(**request)) is Code.DISK_FULL
    engine.fault = lambda _: None
    assert code_of(lambda: renter.allocate(**request)) is Code.DISK_FULL
    assert engine.all == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"duration_s": 8 * 86_400}, Code.TOO_LONG),
        ({"kind": "probe", "duration_s": 901}, Code.TOO_LONG),
        ({"ports": (22,)}, Code.UNSUPPORTED),
        ({"ports": (1, 2, 3, 4, 5)}, Code.UNSUPPORTED),
        ({"requirement": Requirement(memory_mib=64, shm_mib=65)}, Code.UNSUPPORTED),
        ({"requirement": Requirement(gpus=1)}, Code.NO_CAPACITY),
        ({"requirement": Requirement(cpus=64)}, Code.NO_CAPACITY),
        ({"renter_public_key": "x" * 400}, Code.BAD_KEY),
        ({"ssh_public_key": "ssh-ed25519 " + "A" * 68}, Code.BAD_KEY),
    ],
)
def test_a_request_that_cannot_be_met_has_its_own_code(
    service: MinerService, renter: FakeRenter, fields: dict[str, object], code: Code
):
    """What is wrong with a request is said by code, and nothing is written."""
    assert code_of(lambda: renter.allocate(**fields)) is code
    assert service.host.ledger.recent(1) == ()


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("ensure_network", Code.ENGINE_AWAY),
        ("create", Code.IMAGE_MISSING),
        ("create", Code.DISK_FULL),
        ("put_files", Code.ENGINE_FAILED),
        ("start", Code.PORT_TAKEN),
        ("start", Code.HOST_UNFIT),
    ],
)
def test_a_failure_at_any_step_leaves_nothing(
    service: MinerService, renter: FakeRenter, engine: FakeEngine, step: str, code: Code
):
    """Each step's failure has its own code, and neither container nor capacity stays behind."""
    before = service.manager.free()

    def fail(call: str) -> None:
        if call == step:
            raise EngineError(code, "injected")

    engine.fault = fail
    assert code_of(renter.allocate) is code
    engine.fault = lambda _: None
    assert engine.all == {}
    assert service.manager.free() == before
    assert [lease.state for lease in service.host.ledger.recent(9)] == [LeaseState.FAILED]


def test_a_taken_port_is_avoided(renter: FakeRenter, engine: FakeEngine):
    """A host port that something else listens on costs an attempt, not the lease."""
    engine.foreign_ports = {20000, 20001}
    assert renter.open(renter.allocate()).port == 20002
    assert renter.open(renter.allocate()).port == 20003


def test_a_gpu_in_use_is_not_leased(build: Build, engine: FakeEngine):
    """A GPU with processes on it before a lease starts is refused with that reason."""
    hardware = FakeHardware(gpus=2)
    hardware.health = {"GPU-0": GpuHealth(processes=1)}
    service = build(hardware)
    renter = FakeRenter(service)
    reply = renter.allocate(requirement=Requirement(gpus=1))
    assert service.host.ledger.get(reply.lease_id).assignment.gpus == ("GPU-1",)
    with pytest.raises(LeaseError, match="1 processes use it outside any lease"):
        renter.allocate(requirement=Requirement(gpus=1))
    assert service.handle_specs(SpecsRequest(), renter.context()).free.gpus == 0


# --- operating ------------------------------------------------------------------------------------


def test_pause_and_unpause_reach_the_engine(renter: FakeRenter, engine: FakeEngine):
    """A paused lease's container stands still, and repeating either is harmless."""
    lease_id = renter.allocate().lease_id
    (container,) = engine.all.values()
    for _ in range(2):
        assert renter.operate(lease_id, LeaseAction.PAUSE).state is LeaseState.PAUSED
        assert container.state is ContainerState.PAUSED
    for _ in range(2):
        assert renter.operate(lease_id, LeaseAction.UNPAUSE).state is LeaseState.ACTIVE
        assert container.state is ContainerState.RUNNING


def test_a_released_lease_has_a_signed_end(service: MinerService, renter: FakeRenter):
    """Release answers with a proof of teardown that the miner's hotkey signed; so does status."""
    lease_id = renter.allocate().lease_id
    released = renter.operate(lease_id, LeaseAction.RELEASE)
    assert (released.state, released.reason) == (LeaseState.ENDED, EndReason.RELEASED)
    hotkey = service.host.key.ss58_address
    verify_teardown(proof_of(released), lease_id, hotkey)
    later = renter.operate(lease_id, LeaseAction.STATUS)
    assert later.teardown == released.teardown
    assert [event.event for event in later.events][-2:] == ["ending", "ended"]


@pytest.mark.parametrize("action", [a for a in LeaseAction if a is not LeaseAction.STATUS])
def test_nothing_is_done_to_a_lease_that_is_over(renter: FakeRenter, action: LeaseAction):
    """After the end only status answers; a second release is harmless."""
    lease_id = renter.allocate().lease_id
    renter.operate(lease_id, LeaseAction.RELEASE)
    arguments: dict[LeaseAction, dict[str, object]] = {
        LeaseAction.EXTEND: {"duration_s": 5},
        LeaseAction.EXCHANGE_KEY: {"ssh_public_key": renter.ssh.public},
    }
    call = lambda: renter.operate(lease_id, action, **arguments.get(action, {}))  # noqa: E731
    if action is LeaseAction.RELEASE:
        assert call().state is LeaseState.ENDED
    else:
        assert code_of(call) is Code.LEASE_STATE


def test_exchanged_keys_reach_the_container(renter: FakeRenter, engine: FakeEngine):
    """`exchange_key` replaces the file of authorized keys, without a restart."""
    lease_id = renter.allocate().lease_id
    (container,) = engine.all.values()
    line = FakeRenter(renter.service).ssh.public
    renter.operate(lease_id, LeaseAction.EXCHANGE_KEY, ssh_public_key=line)
    assert container.files["/run/compute/authorized_keys"] == f"{line}\n".encode()


def test_extension_moves_ledger_and_name(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """Ledger, container name and reply agree on the new deadline, and the longest lease holds."""
    lease_id = renter.allocate().lease_id
    before = service.host.ledger.get(lease_id)
    reply = renter.operate(lease_id, LeaseAction.EXTEND, duration_s=60)
    lease = service.host.ledger.get(lease_id)
    assert reply.expires_at == lease.expires_at == before.expires_at + 60
    (container,) = engine.all.values()
    assert container.name.endswith(lease.deadline.token())
    too_long = {"duration_s": 7 * 86_400}
    assert code_of(lambda: renter.operate(lease_id, LeaseAction.EXTEND, **too_long)) is (
        Code.TOO_LONG
    )


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        (LeaseAction.RELEASE, {"duration_s": 5}),
        (LeaseAction.EXTEND, {}),
        (LeaseAction.EXTEND, {"duration_s": 5, "tail": 5}),
        (LeaseAction.EXCHANGE_KEY, {}),
    ],
)
def test_each_action_reads_its_own_arguments(
    renter: FakeRenter, action: LeaseAction, arguments: dict[str, object]
):
    """A missing argument, or one that belongs to another action, is malformed."""
    lease_id = renter.allocate().lease_id
    with pytest.raises(AdmissionError) as refused:
        renter.operate(lease_id, action, **arguments)
    assert refused.value.code is Code.MALFORMED


def test_a_stranger_learns_nothing(service: MinerService, renter: FakeRenter):
    """Another hotkey is told that there is no such lease, even with the right key."""
    lease_id = renter.allocate().lease_id
    stranger = FakeRenter(service, "Charlie")
    stranger.key = renter.key
    assert code_of(lambda: stranger.operate(lease_id, LeaseAction.STATUS)) is Code.LEASE_UNKNOWN


def test_the_owner_without_the_key_is_refused(service: MinerService, renter: FakeRenter):
    """The right hotkey with another private key proves no possession."""
    lease_id = renter.allocate().lease_id
    thief = FakeRenter(service)
    thief.key = FakeRenter(service, "Charlie").key
    assert code_of(lambda: thief.operate(lease_id, LeaseAction.STATUS)) is Code.POSSESSION


def test_a_manager_may_operate(service: MinerService, renter: FakeRenter):
    """A hotkey that the lease names as manager operates on it, with the lease's key."""
    manager = FakeRenter(service, "Charlie")
    lease_id = renter.allocate(managers=(manager.hotkey,)).lease_id
    manager.key = renter.key
    assert manager.operate(lease_id, LeaseAction.PAUSE).state is LeaseState.PAUSED


def test_a_proof_serves_once(service: MinerService, renter: FakeRenter):
    """A captured operation cannot be sent again, nor changed into another one."""
    lease_id = renter.allocate().lease_id
    arguments = LeaseArguments()
    said = possession.statement(lease_id, "pause", arguments.digest(), 2**62)
    proof = possession.prove(renter.key, said)
    request = LeaseRequest(
        lease_id=lease_id, action=LeaseAction.PAUSE, arguments=arguments, nonce=2**62, proof=proof
    )
    service.handle_lease(request, renter.context())
    again = [request, request.model_copy(update={"action": LeaseAction.RELEASE})]
    again.append(request.model_copy(update={"nonce": 2**62 + 1}))
    for replay in again:
        assert code_of(lambda r=replay: service.handle_lease(r, renter.context())) is (
            Code.POSSESSION
        )


# --- ending ---------------------------------------------------------------------------------------


def test_a_lease_ends_at_its_deadline_and_not_before(
    service: MinerService, renter: FakeRenter, engine: FakeEngine, clock: ManualClock
):
    """The sweep ends what is due, whatever the wall clock was set to meanwhile."""
    lease_id = renter.allocate(duration_s=600).lease_id
    clock.jump(3600)
    clock.advance(599)
    sweep(service)
    assert service.host.ledger.get(lease_id).state is LeaseState.ACTIVE
    clock.jump(-7200)
    clock.advance(1)
    sweep(service)
    over = service.host.ledger.get(lease_id)
    assert (over.state, over.reason) == (LeaseState.ENDED, EndReason.DEADLINE)
    assert engine.all == {}


def test_an_engine_fault_delays_an_end_and_holds_its_hardware(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """While the engine cannot confirm the removal, the lease stays ENDING and keeps what it has."""
    lease_id = renter.allocate().lease_id
    taken = service.manager.free()

    def fail(call: str) -> None:
        if call == "remove":
            raise EngineError(Code.ENGINE_AWAY, "injected")

    engine.fault = fail
    assert code_of(lambda: renter.operate(lease_id, LeaseAction.RELEASE)) is Code.ENGINE_AWAY
    assert service.host.ledger.get(lease_id).state is LeaseState.ENDING
    assert service.manager.free() == taken
    engine.fault = lambda _: None
    sweep(service)
    over = service.host.ledger.get(lease_id)
    assert (over.state, over.reason) == (LeaseState.ENDED, EndReason.RELEASED)


def test_a_lost_container_fails_its_lease(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """A live lease whose container vanished is FAILED, and its owner is told why."""
    lease_id = renter.allocate().lease_id
    engine.all.clear()
    sweep(service)
    told = renter.operate(lease_id, LeaseAction.STATUS)
    assert (told.state, told.reason) == (LeaseState.FAILED, EndReason.LOST)
    assert told.detail == "its container is gone"


def test_a_stopped_container_is_started_again(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """After a restart of the engine an active lease runs again, and a paused one stands still."""
    first = renter.allocate().lease_id
    second = renter.allocate().lease_id
    renter.operate(second, LeaseAction.PAUSE)
    engine.reboot()
    sweep(service)
    states = {c.spec.labels["io.compute.lease"]: c.state for c in engine.all.values()}
    assert states == {first: ContainerState.RUNNING, second: ContainerState.PAUSED}


def test_a_container_that_keeps_stopping_is_given_up(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """A tenant that ends his own container is not started for ever."""
    lease_id = renter.allocate().lease_id
    for _ in range(8):
        engine.reboot()
        sweep(service)
    assert service.host.ledger.get(lease_id).state is LeaseState.FAILED
    assert engine.all == {}


def test_a_restarted_miner_ends_what_fell_due_and_keeps_the_rest(
    build: Build, engine: FakeEngine, clock: ManualClock
):
    """Reconciliation at the start: overdue leases end, others live on, orphans go."""
    renter = FakeRenter(build())
    short = renter.allocate(duration_s=10).lease_id
    long = renter.allocate(duration_s=1000).lease_id
    clock.advance(20)
    service = build()
    service.reconcile()
    assert service.manager.settle(5)
    assert service.host.ledger.get(short).reason is EndReason.DEADLINE
    assert service.host.ledger.get(long).state is LeaseState.ACTIVE
    assert len(engine.all) == 1


def test_another_miners_containers_are_never_touched(
    build: Build, engine: FakeEngine, tmp_path: Path
):
    """Two miners on one engine: neither removes what carries the other's label."""
    other = FakeRenter(build(state=tmp_path / "other"))
    other.allocate()
    service = build()
    service.reconcile()
    assert len(engine.all) == 1


def test_a_stopping_miner_takes_no_new_lease(service: MinerService, renter: FakeRenter):
    """After the stop began, a request is told to come back later."""
    service.manager.close(1)
    assert code_of(renter.allocate) is Code.BUSY


# --- challenges -----------------------------------------------------------------------------------


def step(renter: FakeRenter, **fields: object) -> object:
    return renter.service.handle_challenge(ChallengeRequest(**fields), renter.context())  # type: ignore[arg-type]


def open_session(renter: FakeRenter, *gpus: str) -> str:
    request = ChallengeRequest(step=ChallengeStep.OPEN, gpus=gpus)
    return renter.service.handle_challenge(request, renter.context()).session


def test_a_session_carries_bytes_and_leaves_nothing(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """Open, exchange, close: the prover's bytes come back, and its container is gone after."""
    session = open_session(renter)
    request = ChallengeRequest(
        step=ChallengeStep.EXCHANGE, session=session, data=b"hello", expect=5
    )
    assert service.handle_challenge(request, renter.context()).data == b"hello"
    step(renter, step=ChallengeStep.CLOSE, session=session)
    assert engine.all == {}
    assert service.host.ledger.get(session).state is LeaseState.ENDED


def test_a_silent_prover_ends_its_session(service: MinerService, renter: FakeRenter):
    """When the expected bytes do not come, the caller is told and the session is over."""
    session = open_session(renter)
    exchange = {"step": ChallengeStep.EXCHANGE, "session": session, "expect": 9, "wait_s": 0}
    assert code_of(lambda: step(renter, **exchange)) is Code.PROVER_FAILED
    assert service.manager.settle(5)
    assert service.host.ledger.get(session).state is LeaseState.FAILED
    assert code_of(lambda: step(renter, **exchange)) is Code.LEASE_UNKNOWN


def test_a_session_belongs_to_its_caller(service: MinerService, renter: FakeRenter):
    """Another validator can neither use nor close it."""
    session = open_session(renter)
    stranger = FakeRenter(service, "Charlie")
    for action in (ChallengeStep.EXCHANGE, ChallengeStep.CLOSE):
        assert code_of(lambda a=action: step(stranger, step=a, session=session)) is (
            Code.LEASE_UNKNOWN
        )


def test_a_session_does_not_outlive_its_time(
    service: MinerService, renter: FakeRenter, engine: FakeEngine, clock: ManualClock
):
    """A session that nobody closes is ended by its deadline."""
    open_session(renter)
    clock.advance(181)
    sweep(service)
    assert engine.all == {}


def test_a_validators_new_session_replaces_his_old_one(
    service: MinerService, renter: FakeRenter, engine: FakeEngine
):
    """A validator that lost its session does not wait for its time to run out."""
    first = open_session(renter)
    open_session(renter)
    assert service.host.ledger.get(first).reason is EndReason.EVICTED
    assert len(engine.all) == 1


def test_a_challenge_cannot_have_a_leased_gpu(build: Build):
    """A GPU that is rented is not challenged; a free one is held while it is."""
    service = build(FakeHardware(gpus=2))
    renter = FakeRenter(service)
    renter.allocate(requirement=Requirement(gpus=1))
    assert code_of(lambda: open_session(renter, "GPU-0")) is Code.NO_CAPACITY
    open_session(renter, "GPU-1")
    assert code_of(lambda: renter.allocate(requirement=Requirement(gpus=1))) is Code.NO_CAPACITY


def test_the_test_slot_is_shared_and_bounded(build: Build):
    """Probes and challenges draw on one slot, and are refused when it is full."""
    service = build(test=SlotSettings(leases=2, memory_mib=4096))
    renter = FakeRenter(service)
    open_session(renter)
    renter.allocate(kind="probe", duration_s=60)
    assert code_of(lambda: renter.allocate(kind="probe", duration_s=60)) is Code.NO_CAPACITY


# --- the warm pool --------------------------------------------------------------------------------

SHAPE = Requirement(cpus=1, memory_mib=512)


@pytest.fixture
def warm(build: Build) -> MinerService:
    """A miner that keeps one container ready, and has it."""
    service = build(warm=WarmSettings(size=1, ttl_s=100, shape=SHAPE))
    service.manager.pool.open()
    service.manager.pool.refill()
    return service


def test_a_warm_container_becomes_the_lease(warm: MinerService, engine: FakeEngine):
    """The lease takes over the container that waited: keyed, renamed, adjusted and running."""
    (waiting,) = engine.all.values()
    assert waiting.state is ContainerState.PAUSED
    assert waiting.files == {}
    reply = FakeRenter(warm).allocate(requirement=Requirement(cpus=2, memory_mib=1024))
    lease = warm.host.ledger.get(reply.lease_id)
    assert list(engine.all) == [lease.container] == [waiting.id]
    assert waiting.state is ContainerState.RUNNING
    assert set(waiting.files) == {"/run/compute/authorized_keys", "/run/compute/host_key"}
    assert waiting.name.endswith(lease.deadline.token())
    assert waiting.limits is not None
    assert (len(waiting.limits.cpus), waiting.limits.memory_mib) == (2, 1024)
    assert lease.assignment.host_port(22) == waiting.spec.publish[0].host
    assert warm.host.ledger.warm() == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"ports": (80,)},
        {"environment": {"A": "b"}},
        {"requirement": Requirement(shm_mib=128)},
        {"kind": "probe", "duration_s": 60},
    ],
)
def test_what_cannot_be_adjusted_starts_cold(
    warm: MinerService, engine: FakeEngine, fields: dict[str, object]
):
    """Extra ports, environment, shared memory and the test slot need a container of their own."""
    FakeRenter(warm).allocate(**fields)
    states = sorted(one.state for one in engine.all.values())
    assert states == [ContainerState.PAUSED, ContainerState.RUNNING]


def test_a_container_never_serves_a_second_tenant(warm: MinerService, engine: FakeEngine):
    """After a release the container is gone, and the next lease gets another."""
    renter = FakeRenter(warm)
    (first,) = engine.all
    renter.operate(renter.allocate().lease_id, LeaseAction.RELEASE)
    assert engine.all == {}
    warm.manager.pool.refill()
    renter.allocate()
    assert first not in engine.all


def test_warm_containers_give_way(warm: MinerService, engine: FakeEngine):
    """Everything is reported free, and whoever needs it all gets it all."""
    renter = FakeRenter(warm)
    everything = warm.handle_specs(SpecsRequest(), renter.context())
    assert everything.free == everything.total
    need = Requirement(cpus=everything.free.cpus, memory_mib=everything.free.memory_mib)
    assert renter.allocate(checking=True, requirement=need).available
    reply = renter.allocate(requirement=need)
    assert [one.spec.labels["io.compute.lease"] for one in engine.all.values()] == [reply.lease_id]


def test_a_warm_container_does_not_grow_old(
    warm: MinerService, engine: FakeEngine, clock: ManualClock
):
    """After its TTL it is replaced by a fresh one."""
    (first,) = engine.all
    clock.advance(101)
    warm.manager.pool.refill()
    (second,) = engine.all
    assert first != second


def test_what_an_earlier_process_kept_warm_is_removed(
    warm: MinerService, build: Build, engine: FakeEngine
):
    """A new process starts with an empty pool, and the sweep keeps its hands off a full one."""
    sweep(warm)
    assert len(engine.all) == 1
    later = build()
    later.manager.pool.open()
    assert engine.all == {}
    assert later.host.ledger.warm() == ()


def test_a_failing_warm_container_costs_nothing(build: Build, engine: FakeEngine):
    """If making one ahead fails, nothing of it stays, and leases are made cold."""

    def fail(call: str) -> None:
        if call == "pause":
            raise EngineError(Code.ENGINE_FAILED, "injected")

    service = build(warm=WarmSettings(size=2, shape=SHAPE))
    service.manager.pool.open()
    engine.fault = fail
    service.manager.pool.refill()
    assert engine.all == {}
    assert service.host.ledger.warm() == ()
    assert FakeRenter(service).allocate().available


# --- stopping -------------------------------------------------------------------------------------


def test_a_hanging_engine_does_not_keep_a_miner_from_stopping(build: Build, engine: FakeEngine):
    """A stop returns within its grace though the engine answers nothing any more."""
    service = build(on_stop="end")
    service.start()
    FakeRenter(service).allocate()
    hang = threading.Event()
    engine.fault = lambda _: hang.wait(30) and None
    started = time.monotonic()
    service.stop(1.0)
    took_s = time.monotonic() - started
    hang.set()
    assert took_s < 3
    assert service.manager.settle(5)


def test_a_miner_that_never_started_stops_nothing(build: Build, engine: FakeEngine):
    """Whoever was refused the state folder leaves the other's leases alone."""
    service = build(on_stop="end")
    service.start()
    FakeRenter(service).allocate()
    refused = build(on_stop="end")
    with pytest.raises(UsageError):
        refused.start()
    refused.stop(1.0)
    assert len(engine.all) == 1
    service.stop(5.0)
    assert engine.all == {}
