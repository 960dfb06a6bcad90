"""Tenants who do not want to leave, and tenants who want more than their lease. All are gone soon.

Every test uses the real engine; each lease has to be gone within fifteen seconds of its release.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import paramiko
import pytest

from compute.adapters.engine.baseimage import BaseImage
from compute.adapters.engine.private import PrivateEngine
from compute.domain.container import LEASE, ContainerState
from compute.domain.lease import EndReason, LeaseState
from compute.domain.requirement import Requirement
from compute.errors import ComputeError
from compute.miner.service import MinerService
from compute.protocol.synapses import AllocateReply, Credentials, LeaseAction
from compute.testing.leases import FakeRenter, real_service

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]
SMALL = Requirement(memory_mib=256, disk_mib=64)
GONE_WITHIN_S = 15


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, base_image: BaseImage
) -> Iterator[MinerService]:
    """One miner."""
    state = tmp_path_factory.mktemp("hostile")
    service = real_service(state, docker_host, base_image.id, pids=200, on_stop="end")
    service.start()
    yield service
    service.stop()


class Tenant:
    """A renter with one lease, in which he has his own way."""

    def __init__(self, service: MinerService) -> None:
        self.service = service
        self.renter = FakeRenter(service)
        self.reply: AllocateReply = self.renter.allocate(requirement=SMALL)
        self.inside: Credentials = self.renter.open(self.reply)

    def run(self, command: str) -> str:
        """Run something inside, as root."""
        return self.renter.run(self.inside, command)[1]

    def leave_running(self, command: str) -> None:
        """Start something inside and do not wait for it."""
        self.run(f"setsid sh -c '{command}' >/dev/null 2>&1 </dev/null & sleep 0.5")

    def operate(self, action: LeaseAction) -> None:
        """Operate on the lease."""
        self.renter.operate(self.reply.lease_id, action)

    def is_evicted(self) -> None:
        """The lease is released, and gone in time, with nothing left."""
        started = time.monotonic()
        told = self.renter.operate(self.reply.lease_id, LeaseAction.RELEASE)
        took_s = time.monotonic() - started
        assert told.state is LeaseState.ENDED
        assert told.teardown is not None
        assert took_s < GONE_WITHIN_S
        self.has_left()

    def has_left(self) -> None:
        """No container, process or disk of the lease is there."""
        engine, ledger = self.service.host.engine, self.service.host.ledger
        leases = {one.labels[LEASE] for one in engine.containers(ledger.owner)}
        assert self.reply.lease_id not in leases
        assert self.reply.lease_id not in self.service.host.disks.known()
        host_name = f"lease-{self.reply.lease_id[:8]}"
        assert host_name not in uts_names()


def uts_names() -> set[str]:
    """Host names of all processes on this machine."""
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "environ").read_bytes()
        except OSError:
            continue
        names |= {
            part.removeprefix(b"HOSTNAME=").decode(errors="replace")
            for part in status.split(b"\0")
            if part.startswith(b"HOSTNAME=")
        }
    return names


@pytest.fixture
def tenant(service: MinerService) -> Tenant:
    """One of them."""
    return Tenant(service)


def test_one_who_ignores_sigterm_is_gone(tenant: Tenant):
    """Its first process is the tenant's own, and traps every signal that can be trapped."""
    tenant.run(
        'printf \'#!/bin/bash\\ntrap "" TERM INT HUP QUIT USR1\\nmkdir -p /run/sshd\\n'
        "/usr/sbin/sshd -D -e -f /etc/ssh/compute_sshd.conf &\\nwhile :; do sleep 1; done\\n' "
        "> /usr/local/sbin/compute-entry"
    )
    tenant.operate(LeaseAction.RESTART)
    assert "trap" in tenant.run(
        "cat /proc/1/cmdline | tr '\\0' ' '; cat /usr/local/sbin/compute-entry"
    )
    tenant.is_evicted()


def test_one_who_replaces_tools_is_gone(tenant: Tenant):
    """Nothing that ends a lease runs inside it."""
    tenant.run(
        "for t in /bin/kill /usr/bin/pkill /bin/sh /usr/sbin/sshd; do "
        "printf '#!/bin/bash\\nexit 0\\n' > $t.new; chmod 755 $t.new; mv $t.new $t; done"
    )
    tenant.is_evicted()


def test_a_fork_bomb_is_gone_and_stays_inside(tenant: Tenant, service: MinerService):
    """The bomb fills its own process limit; a neighbour works on, and it ends like any other."""
    neighbour = Tenant(service)
    tenant.leave_running("bomb() { bomb | bomb & }; bomb; sleep 60")
    time.sleep(1)
    assert neighbour.run("echo fine") == "fine\n"
    tenant.is_evicted()
    neighbour.is_evicted()


def test_one_who_filled_his_disk_is_gone(tenant: Tenant):
    """Not a byte is free inside, and the end needs none."""
    tenant.run("head -c 1G /dev/zero > /fill; head -c 1M /dev/zero > /rest; echo x > /x")
    assert "100%" in tenant.run("df / | tail -1")
    tenant.is_evicted()


def test_one_who_is_paused_is_gone(tenant: Tenant):
    """A frozen container is thawed only to be killed."""
    tenant.leave_running("trap : TERM; while :; do :; done")
    tenant.operate(LeaseAction.PAUSE)
    tenant.is_evicted()


def test_one_who_hogs_memory_and_processor_is_gone(tenant: Tenant):
    """Neither thrashing at the memory limit nor spinning on the processor delays the end."""
    tenant.leave_running('while :; do python3 -c "x=bytearray(1<<30)"; done')
    for _ in range(4):
        tenant.leave_running("while :; do :; done")
    tenant.is_evicted()


def test_one_who_floods_his_log_fills_no_disk(tenant: Tenant, docker_host: str):
    """The engine keeps a megabyte of what a tenant writes to its log, and `logs` stays quick."""
    tenant.run(
        'timeout 4 sh -c \'while :; do head -c 4M /dev/zero | tr "\\0" x; echo; done '
        "> /proc/1/fd/2' 2>/dev/null; true"
    )
    api = docker.APIClient(base_url=docker_host)
    container = tenant.service.host.ledger.get(tenant.reply.lease_id).container
    path = Path(api.inspect_container(container)["LogPath"])
    api.close()
    assert path.stat().st_size < 4 * 1024 * 1024
    started = time.monotonic()
    told = tenant.renter.operate(tenant.reply.lease_id, LeaseAction.LOGS, tail=2000)
    assert len(told.logs) <= 262_144
    assert time.monotonic() - started < 5
    tenant.is_evicted()


def test_one_who_redirects_his_keys_writes_nowhere_else(tenant: Tenant, tmp_path: Path):
    """Exchanged keys follow a tenant's links inside the container, never out of it."""
    target = tmp_path / "host"
    target.mkdir()
    tenant.run(f"rm -rf /run/compute; mkdir -p /a; ln -s {'../' * 12}{target} /run/compute")
    line = FakeRenter(tenant.service).ssh.public
    with contextlib.suppress(ComputeError):  # the engine may refuse the link altogether
        tenant.renter.operate(tenant.reply.lease_id, LeaseAction.EXCHANGE_KEY, ssh_public_key=line)
    assert list(target.iterdir()) == []
    tenant.is_evicted()


def test_one_who_ends_his_container_gets_it_back_and_is_gone_on_time(tenant: Tenant):
    """A container that its tenant ended is started again, and ends like any other."""
    container = tenant.service.host.ledger.get(tenant.reply.lease_id).container
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        tenant.run("kill -TERM 1; sleep 5")
    wait_until(lambda: running(tenant.service, container) is False, 10)
    tenant.service.reconciler.engine()
    wait_until(lambda: came_back(tenant), 10)
    tenant.is_evicted()


def test_one_whose_deadline_comes_while_he_fights_is_gone_on_time(service: MinerService):
    """At the deadline nobody is asked."""
    renter = FakeRenter(service)
    reply = renter.allocate(requirement=SMALL, duration_s=6)
    renter.run(
        renter.open(reply),
        "setsid sh -c 'trap : TERM; while :; do :; done' >/dev/null 2>&1 </dev/null & sleep 0.1",
    )
    ledger = service.host.ledger
    while ledger.get(reply.lease_id).live:
        assert service.host.clock.now().wall < reply.expires_at + GONE_WITHIN_S
        time.sleep(0.1)
    over = ledger.get(reply.lease_id)
    assert over.reason is EndReason.DEADLINE
    assert (over.ended_at or 0) - reply.expires_at < 2 + service.host.settings.grace_s


# --- the engine is killed under a lease -----------------------------------------------------------


@pytest.fixture(scope="module")
def fragile_engine(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, base_image: BaseImage
) -> Iterator[PrivateEngine]:
    """An engine of this module's own, which may be killed, with the base image in it."""
    with PrivateEngine(tmp_path_factory.mktemp("fragile")) as engine:
        source = docker.APIClient(base_url=docker_host, timeout=300)
        target = docker.APIClient(base_url=engine.docker_host, timeout=300)
        target.load_image(source.get_image(base_image.id))
        source.close()
        target.close()
        yield engine


def restart(engine: PrivateEngine) -> None:
    """Kill the engine's daemon, and start it again as its service manager would."""
    layout = engine.layout
    pid = int(layout.pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid):
        time.sleep(0.02)
    layout.pid_file.unlink(missing_ok=True)
    with layout.log.open("a") as log:
        subprocess.Popen(
            ["dockerd", f"--config-file={layout.run / 'daemon.json'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(engine.running, 60)


def state_of(pid: int) -> str:
    """Letter of a process's state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait for something that happens by itself."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.slow
def test_leases_outlive_a_killed_engine_and_end_all_the_same(
    fragile_engine: PrivateEngine, tmp_path: Path, base_image: BaseImage
):
    """The engine is killed and restarted: leases come back with their disks, and then end."""
    service = real_service(tmp_path, fragile_engine.docker_host, base_image.id, on_stop="end")
    service.start()
    try:
        staying, leaving = Tenant(service), Tenant(service)
        staying.run("echo precious > /root/file")
        released = threading.Thread(target=lambda: release_stubbornly(leaving))
        restart(fragile_engine)
        released.start()
        wait_until(lambda: came_back(staying), 30)
        assert (
            staying.run("cat /root/file; df -m --output=size / | tail -1").split()[0] == "precious"
        )
        assert int(staying.run("df -m --output=size / | tail -1")) <= 64
        released.join(30)
        leaving.has_left()
        staying.is_evicted()
    finally:
        service.stop()


def running(service: MinerService, container: str) -> bool:
    """Whether a container runs."""
    view = service.host.engine.inspect(container)
    return view is not None and view.state is ContainerState.RUNNING


def release_stubbornly(tenant: Tenant) -> None:
    """Release, again and again while the engine is away."""
    for _ in range(100):
        try:
            tenant.operate(LeaseAction.RELEASE)
        except ComputeError:
            time.sleep(0.2)
        else:
            return


def came_back(tenant: Tenant) -> bool:
    """Whether a login works."""
    try:
        return tenant.run("echo here") == "here\n"
    except (OSError, paramiko.SSHException, EOFError):
        return False
