"""The miner's leases on a real engine with a real SSH server, from the first byte to the last."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import paramiko
import pytest

from compute.adapters.engine.baseimage import BaseImage
from compute.domain.container import build as build_container
from compute.domain.lease import EndReason, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, UsageError
from compute.miner.service import MinerService
from compute.protocol.synapses import (
    AllocateReply,
    ChallengeRequest,
    ChallengeStep,
    DiskEnforcement,
    LeaseAction,
    SpecsRequest,
)
from compute.testing.leases import ADDRESS, FakeRenter, real_service

pytestmark = pytest.mark.engine
Build = Callable[..., MinerService]
Small = Requirement(memory_mib=256, disk_mib=64)


@pytest.fixture
def build(tmp_path: Path, docker_host: str, base_image: BaseImage) -> Iterator[Build]:
    """Makes started services on one state folder; the last one ends everything."""
    made: list[MinerService] = []

    def make(**settings: object) -> MinerService:
        service = real_service(tmp_path, docker_host, base_image.id, **settings)
        service.start()
        made.append(service)
        return service

    yield make
    if made:
        made[-1].stop()
        last = real_service(tmp_path, docker_host, base_image.id, on_stop="end")
        last.start()
        last.stop()
        assert objects(last, docker_host) == []


@pytest.fixture
def service(build: Build) -> MinerService:
    """One miner's service."""
    return build()


@pytest.fixture
def renter(service: MinerService) -> FakeRenter:
    """One renter."""
    return FakeRenter(service)


def objects(service: MinerService, docker_host: str) -> list[str]:
    """Everything of one miner that is left on the engine."""
    api = docker.APIClient(base_url=docker_host)
    wanted = {"label": f"io.compute.owner={service.host.ledger.owner}"}
    found = [row["Id"] for row in api.containers(all=True, filters=wanted)]
    found += [row["Id"] for row in api.networks(filters=wanted)]
    found += [row["Name"] for row in api.volumes(filters=wanted)["Volumes"] or ()]
    api.close()
    return found


def inspect(docker_host: str, container: str) -> dict[str, object]:
    api = docker.APIClient(base_url=docker_host)
    told: dict[str, object] = api.inspect_container(container)
    api.close()
    return told


def lease_of(service: MinerService, reply: AllocateReply) -> str:
    return service.host.ledger.get(reply.lease_id).container


def wait_until(condition: Callable[[], bool], limit_s: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


def test_a_renter_logs_in_with_a_pinned_host_key(renter: FakeRenter):
    """Credentials open, the host key is the lease's own, both users get in, the rest is refused."""
    first = renter.open(renter.allocate(requirement=Small, environment={"GREETING": "hi there"}))
    second = renter.open(renter.allocate(requirement=Small))
    assert first.host_key != second.host_key
    assert renter.run(first, "echo $GREETING; id -u") == (0, "hi there\n0\n")
    assert renter.run(first, "id -un", user="renter") == (0, "renter\n")
    with pytest.raises(paramiko.BadHostKeyException):
        renter.login(first.model_copy(update={"host_key": second.host_key}))
    stranger = FakeRenter(renter.service, "Charlie")
    with pytest.raises(paramiko.AuthenticationException):
        stranger.login(first)


def test_keys_are_exchanged_without_a_restart(renter: FakeRenter):
    """The new key gets in, the old one no more, and running processes go on."""
    reply = renter.allocate(requirement=Small)
    credentials = renter.open(reply)
    renter.run(credentials, "sleep 1000 >/dev/null 2>&1 & echo started")
    old = renter.ssh
    renter.ssh = FakeRenter(renter.service).ssh
    renter.operate(reply.lease_id, LeaseAction.EXCHANGE_KEY, ssh_public_key=renter.ssh.public)
    assert renter.run(credentials, "pgrep -c sleep")[1].strip() == "1"
    renter.ssh = old
    with pytest.raises(paramiko.AuthenticationException):
        renter.login(credentials)


def test_a_restart_keeps_disk_and_keys(renter: FakeRenter):
    """After a restart the files, the keys and the host key are the same."""
    reply = renter.allocate(requirement=Small)
    credentials = renter.open(reply)
    renter.run(credentials, "echo precious > /root/file")
    renter.operate(reply.lease_id, LeaseAction.RESTART)
    assert renter.run(credentials, "cat /root/file") == (0, "precious\n")


def test_pause_stops_the_processes_and_unpause_resumes_them(renter: FakeRenter):
    """A paused lease does no work, and its time runs on."""
    reply = renter.allocate(requirement=Small)
    credentials = renter.open(reply)
    renter.run(
        credentials, "(while :; do echo x >> /root/ticks; sleep 0.05; done) >/dev/null 2>&1 &"
    )
    renter.operate(reply.lease_id, LeaseAction.PAUSE)
    time.sleep(0.5)
    renter.operate(reply.lease_id, LeaseAction.UNPAUSE)
    ticks = int(renter.run(credentials, "wc -l < /root/ticks")[1])
    time.sleep(0.5)
    later = int(renter.run(credentials, "wc -l < /root/ticks")[1])
    assert later > ticks


def test_extra_ports_lead_into_the_container(renter: FakeRenter):
    """A published port reaches what the renter runs there."""
    credentials = renter.open(renter.allocate(requirement=Small, ports=(8000,)))
    renter.run(
        credentials,
        "cd /tmp; echo hello > index.txt; "
        "nohup python3 -m http.server 8000 >/dev/null 2>&1 & sleep 1",
    )
    url = f"http://{ADDRESS}:{credentials.ports[0].host}/index.txt"
    done = subprocess.run(
        ["curl", "-s", "--retry", "9", "--retry-all-errors", "--max-time", "5", url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "hello\n"


def test_nothing_secret_is_left_where_others_look(
    service: MinerService, renter: FakeRenter, docker_host: str, tmp_path: Path
):
    """Neither inspect, history, logs, labels nor the ledger shows a private key or credentials."""
    reply = renter.allocate(requirement=Small)
    credentials = renter.open(reply)
    renter.run(credentials, "true")
    private = renter.run(credentials, "cat /run/compute/host_key")[1].splitlines()[2]
    container = lease_of(service, reply)
    api = docker.APIClient(base_url=docker_host)
    seen = [
        json.dumps(api.inspect_container(container)),
        json.dumps(api.history(service.host.image)),
        api.logs(container).decode(),
        *(
            path.read_bytes().decode(errors="replace")
            for path in tmp_path.iterdir()
            if path.is_file()
        ),
    ]
    api.close()
    assert len(private) > 30
    for text in seen:
        assert private not in text
        assert "PRIVATE KEY" not in text
    stored = "".join(seen[3:])
    assert credentials.host_key.split()[1] not in stored
    assert reply.credentials in stored  # sealed, for whoever repeats the request


def test_a_release_leaves_nothing_but_a_proof(
    service: MinerService, renter: FakeRenter, docker_host: str
):
    """The container is gone before the answer, and so is its port."""
    reply = renter.allocate(requirement=Small)
    told = renter.operate(reply.lease_id, LeaseAction.RELEASE)
    assert told.teardown is not None
    assert told.teardown.checks[0] == "container gone"
    assert [one for one in objects(service, docker_host) if len(one) == 64] == objects(
        service, docker_host
    )
    assert service.host.engine.containers(service.host.ledger.owner) == ()
    with pytest.raises(OSError, match="Unable to connect"):
        renter.login(renter.open(reply))


def test_the_host_and_its_leases_are_claimed(service: MinerService, renter: FakeRenter):
    """Specs tell what is there and what is free, which a lease changes."""
    before = service.handle_specs(SpecsRequest(), renter.context())
    renter.allocate(requirement=Small)
    after = service.handle_specs(SpecsRequest(), renter.context())
    assert before.hosts[0].gpu_note
    assert before.default_image == service.host.image
    assert before.free.memory_mib - after.free.memory_mib == 256
    assert before.total == after.total


def test_a_challenge_carries_bytes_through_a_locked_container(
    service: MinerService, renter: FakeRenter, docker_host: str
):
    """Megabytes go through exactly; inside there is no network, no capability, no writable root."""
    opened = service.handle_challenge(ChallengeRequest(step=ChallengeStep.OPEN), renter.context())
    told = inspect(docker_host, service.host.ledger.get(opened.session).container)
    host = told["HostConfig"]
    assert isinstance(host, dict)
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Binds"]
    data = secrets.token_bytes(3_000_000)
    reply = service.handle_challenge(
        ChallengeRequest(
            step=ChallengeStep.EXCHANGE,
            session=opened.session,
            data=len(data).to_bytes(4, "big") + data,
            expect=len(data),
            wait_s=30,
        ),
        renter.context(),
    )
    assert reply.data == data[::-1]
    close = ChallengeRequest(step=ChallengeStep.CLOSE, session=opened.session)
    service.handle_challenge(close, renter.context())
    assert service.host.engine.containers(service.host.ledger.owner) == ()


def test_a_prover_that_dies_is_reported_with_its_words(
    tmp_path: Path, docker_host: str, base_image: BaseImage
):
    """When the prover ends, the caller hears its last words, and nothing is left."""
    program = b"import sys; sys.exit('no such card')"
    service = real_service(tmp_path, docker_host, base_image.id, program)
    service.start()
    try:
        renter = FakeRenter(service)
        opened = service.handle_challenge(
            ChallengeRequest(step=ChallengeStep.OPEN), renter.context()
        )
        ask = ChallengeRequest(
            step=ChallengeStep.EXCHANGE, session=opened.session, expect=1, wait_s=20
        )
        with pytest.raises(ComputeError, match="no such card") as failed:
            service.handle_challenge(ask, renter.context())
        assert failed.value.code is Code.PROVER_FAILED
        assert service.manager.settle(10)
    finally:
        service.stop()
    assert objects(service, docker_host) == []


def test_deadlines_hold_under_load(service: MinerService, renter: FakeRenter):
    """Leases that end in the midst of others being made end within two seconds of their time."""
    ends = [renter.allocate(requirement=Small, duration_s=8).lease_id for _ in range(4)]

    def keep_busy() -> None:
        for _ in range(6):
            reply = renter.allocate(requirement=Small)
            renter.service.manager.end(reply.lease_id, EndReason.RELEASED)

    threads = [threading.Thread(target=keep_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    ledger = service.host.ledger
    wait_until(lambda: all(not ledger.get(one).live for one in ends), 20)
    for thread in threads:
        thread.join()
    late = [(ledger.get(one).ended_at or 0) - ledger.get(one).expires_at for one in ends]
    assert all(0 <= delay < 2 for delay in late), late


def test_what_fell_due_while_the_miner_was_down_is_gone_soon(build: Build, docker_host: str):
    """Within five seconds of the start nothing overdue is left, and the rest lives on."""
    service = build()
    renter = FakeRenter(service)
    short = renter.allocate(requirement=Small, duration_s=5)
    long = renter.allocate(requirement=Small, duration_s=600)
    service.stop()
    time.sleep(5)
    started = time.monotonic()
    service = build(
        first_port=service.host.settings.first_port, last_port=service.host.settings.last_port
    )
    ledger = service.host.ledger
    wait_until(lambda: not ledger.get(short.lease_id).live, 5)
    assert time.monotonic() - started < 5
    assert ledger.get(short.lease_id).reason is EndReason.DEADLINE
    renter = FakeRenter(service)
    assert renter.operate(long.lease_id, LeaseAction.STATUS).state is LeaseState.ACTIVE
    assert [
        one.labels["io.compute.lease"] for one in service.host.engine.containers(ledger.owner)
    ] == [long.lease_id]


def test_the_guard_ends_leases_when_the_miner_is_dead(
    tmp_path: Path, docker_host: str, base_image: BaseImage
):
    """Killed with SIGKILL and never started again, the miner's lease still ends on time."""
    code = (
        "import sys, pathlib\n"
        "from compute.testing.leases import *\n"
        "from compute.domain.requirement import Requirement\n"
        "service = real_service(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], guard=True)\n"
        "service.start()\n"
        "r = FakeRenter(service).allocate(duration_s=6, requirement=Requirement(memory_mib=256))\n"
        "print('OWNER', service.host.ledger.owner, flush=True)\n"
        "import time; time.sleep(100)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), docker_host, base_image.id],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert child.stdout is not None
    owner = next(line.split()[1] for line in child.stdout if line.startswith("OWNER"))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    api = docker.APIClient(base_url=docker_host)
    wanted = {"label": f"io.compute.owner={owner}"}
    assert len(api.containers(filters=wanted)) == 1
    wait_until(lambda: not api.containers(all=True, filters=wanted), 12)
    wait_until(lambda: not api.networks(filters=wanted), 5)
    api.close()


def test_one_state_folder_serves_one_miner(
    service: MinerService, tmp_path: Path, docker_host: str, base_image: BaseImage
):
    """A second miner on the same folder is refused, and takes nothing down."""
    second = real_service(tmp_path, docker_host, base_image.id)
    with pytest.raises(UsageError, match="another miner"):
        second.start()
    second.stop()
    assert FakeRenter(service).allocate(requirement=Small).available


def test_fifty_repeats_at_once_make_one_container(service: MinerService, renter: FakeRenter):
    """The same idempotency key sent fifty times at once gives one lease, with one container."""
    request = renter.request(requirement=Small)
    replies: list[AllocateReply] = []
    threads = [
        threading.Thread(
            target=lambda: replies.append(service.handle_allocate(request, renter.context()))
        )
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 50
    assert len({(reply.lease_id, reply.credentials) for reply in replies}) == 1
    assert len(service.host.engine.containers(service.host.ledger.owner)) == 1


def test_an_idle_lease_is_warned_and_ended_and_a_used_one_is_not(build: Build):
    """Without session and load a lease that asked for it ends; a session or load keeps it."""
    service = build(patrol_s=0.3)
    renter = FakeRenter(service)
    idle, busy, visited, careless = (
        renter.allocate(requirement=Small, idle_stop_s=seconds) for seconds in (5, 5, 5, 0)
    )
    renter.run(
        renter.open(busy), "setsid sh -c 'while :; do :; done' >/dev/null 2>&1 </dev/null & true"
    )
    session = renter.login(renter.open(visited))
    ledger = service.host.ledger
    wait_until(lambda: not ledger.get(idle.lease_id).live, 20)
    told = renter.operate(idle.lease_id, LeaseAction.STATUS)
    assert told.reason is EndReason.IDLE
    assert "warned" in [event.event for event in told.events]
    time.sleep(2)
    for reply in (busy, visited, careless):
        assert ledger.get(reply.lease_id).state is LeaseState.ACTIVE
    session.close()
    wait_until(lambda: not ledger.get(visited.lease_id).live, 20)


def test_a_watched_disk_ends_the_lease_that_outgrew_it(build: Build):
    """Where a host can only watch, it says so, and ends whoever takes more than he was given."""
    service = build(disk="watch", patrol_s=0.3)
    renter = FakeRenter(service)
    assert service.specs.reply().terms.disk is DiskEnforcement.WATCH
    greedy = renter.allocate(requirement=Small)
    modest = renter.allocate(requirement=Small)
    for reply, size in ((greedy, 100), (modest, 20)):
        renter.run(renter.open(reply), f"head -c {size}M /dev/zero > /fill")
    ledger = service.host.ledger
    wait_until(lambda: not ledger.get(greedy.lease_id).live, 10)
    assert ledger.get(greedy.lease_id).reason is EndReason.EVICTED
    assert ledger.get(modest.lease_id).state is LeaseState.ACTIVE


def test_gpus_are_asked_for_by_uuid_and_a_host_without_says_so(
    service: MinerService, docker_host: str
):
    """Exactly the assigned UUIDs are passed through; without a GPU runtime the start has a code."""
    engine, ledger = service.host.engine, service.host.ledger
    renter = FakeRenter(service)
    lease = ledger.get(renter.allocate(requirement=Small).lease_id)
    uuids = ("GPU-5ad0a6f2-0000", "GPU-5ad0a6f2-0001")
    share = lease.assignment.model_copy(update={"gpus": uuids, "ports": ()})
    spec = build_container(
        replace(lease, id=secrets.token_hex(16), assignment=share), service.host.surroundings
    )
    container = engine.create(spec)
    try:
        host = inspect(docker_host, container)["HostConfig"]
        assert isinstance(host, dict)
        (asked,) = host["DeviceRequests"]
        assert (asked["Count"], asked["DeviceIDs"]) == (0, list(uuids))
        with pytest.raises(ComputeError) as refused:
            engine.start(container)
        assert refused.value.code is Code.HOST_UNFIT
    finally:
        engine.remove(container)
