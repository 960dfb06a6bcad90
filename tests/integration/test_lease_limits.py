"""What a lease is held to, tried from inside: its limits, its walls, its neighbours."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from compute.adapters.engine.baseimage import BaseImage
from compute.adapters.engine.disk import LoopDisks
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError
from compute.miner.service import MinerService
from compute.protocol.synapses import AllocateReply, Credentials, DiskEnforcement, LeaseAction
from compute.testing.leases import ADDRESS, FakeRenter, real_service
from tests.integration.lease_lab import Internet, internet, listener, try_to_reach

pytestmark = pytest.mark.engine
DISK_MIB = 64


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, base_image: BaseImage
) -> Iterator[MinerService]:
    """One miner with a few limits of its own."""
    state = tmp_path_factory.mktemp("limits")
    service = real_service(
        state,
        docker_host,
        base_image.id,
        pids=300,
        open_files=2048,
        egress_mbit=20,
        on_stop="end",
        firewall="require",
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def renter(service: MinerService) -> FakeRenter:
    """One renter."""
    return FakeRenter(service)


@pytest.fixture(scope="module")
def reply(renter: FakeRenter) -> AllocateReply:
    """A lease that the tests of this module share."""
    return renter.allocate(
        requirement=Requirement(cpus=1, memory_mib=256, shm_mib=32, disk_mib=DISK_MIB)
    )


@pytest.fixture(scope="module")
def inside(renter: FakeRenter, reply: AllocateReply) -> Credentials:
    """Its credentials."""
    return renter.open(reply)


@pytest.fixture(scope="module")
def told(service: MinerService, reply: AllocateReply, docker_host: str) -> dict[str, object]:
    """What the engine's inspect says of it."""
    api = docker.APIClient(base_url=docker_host)
    answer = api.inspect_container(service.host.ledger.get(reply.lease_id).container)
    api.close()
    host: dict[str, object] = answer["HostConfig"]
    return host


@pytest.fixture(scope="module")
def lab() -> Iterator[Internet]:
    """A small internet beside the host."""
    with internet() as made:
        yield made


# --- limits ---------------------------------------------------------------------------------------


def test_inspect_shows_every_limit(told: dict[str, object], service: MinerService):
    """The engine was told each of them."""
    mib = 1024 * 1024
    assert told["CpusetCpus"] == str(service.host.ledger.live()[0].assignment.cpus[0])
    assert (told["CpuQuota"], told["CpuPeriod"]) == (100_000, 100_000)
    assert told["Memory"] == told["MemorySwap"] == 256 * mib
    assert told["ShmSize"] == 32 * mib
    assert told["PidsLimit"] == 300
    assert told["Ulimits"] == [{"Name": "nofile", "Hard": 2048, "Soft": 2048}]
    assert told["CapDrop"] == ["ALL"]
    assert told["SecurityOpt"] == ["no-new-privileges"]
    assert not told["Privileged"]
    assert not told["Binds"]
    assert not told["Mounts"] if "Mounts" in told else True
    assert told["PidMode"] == told["UTSMode"] == ""
    assert told["IpcMode"] in {"private", ""}


def test_processors_are_pinned(renter: FakeRenter, inside: Credentials):
    """A lease of one processor sees one."""
    assert renter.run(inside, "nproc")[1].strip() == "1"


def test_memory_beyond_the_limit_is_refused_by_force(renter: FakeRenter, inside: Credentials):
    """Whoever takes more is killed; the lease lives on."""
    status, _ = renter.run(inside, "python3 -c 'b = bytearray(400 << 20); print(len(b))'")
    assert status != 0
    assert renter.run(inside, "echo alive") == (0, "alive\n")


def test_shared_memory_is_bounded_and_counts(renter: FakeRenter, inside: Credentials):
    """The shared memory holds its size and no more."""
    status, text = renter.run(inside, "head -c 40M /dev/zero > /dev/shm/x; rm -f /dev/shm/x")
    assert "No space left" in text
    assert status == 0


def test_processes_are_bounded(renter: FakeRenter, inside: Credentials):
    """At most so many processes at once, whatever is tried."""
    code = (
        "import os,time\n"
        "n=0\n"
        "try:\n"
        "  while n<2000:\n"
        "    p=os.fork()\n"
        "    if not p: time.sleep(3); os._exit(0)\n"
        "    n+=1\n"
        "except OSError: pass\n"
        "print(n)"
    )
    made = int(renter.run(inside, f"python3 -c '{code}'")[1].split()[-1])
    assert 100 < made < 300


def test_open_files_are_bounded(renter: FakeRenter, inside: Credentials):
    """The hard limit cannot be raised."""
    _, text = renter.run(inside, "ulimit -Hn; ulimit -n 4096 2>&1 | head -1")
    assert text.startswith("2048\n")
    assert "cannot modify limit" in text


def test_the_disk_stops_at_its_size(service: MinerService, renter: FakeRenter, inside: Credentials):
    """Wherever the tenant writes, it ends at his disk's size, and the host's disk is not his."""
    if service.host.disks.enforcement not in {DiskEnforcement.VOLUME, DiskEnforcement.QUOTA}:
        pytest.fail("this host can only watch disks: run as root with loop devices")
    _, text = renter.run(
        inside, "head -c 200M /dev/zero > /var/fill; du -sm /var/fill; rm /var/fill"
    )
    assert "No space left" in text
    taken = int(re.findall(r"^(\d+)\s+/var/fill", text, re.MULTILINE)[0])
    assert taken <= DISK_MIB
    size = int(renter.run(inside, "df -m --output=size / | tail -1")[1])
    assert size <= DISK_MIB


def test_capabilities_are_few_and_cannot_grow(renter: FakeRenter, inside: Credentials):
    """Root inside can neither mount, nor trace others, nor send raw packets, nor gain more."""
    _, status = renter.run(inside, "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status")
    assert re.search(r"CapBnd:\s+00000000200404fb", status)
    assert re.search(r"NoNewPrivs:\s+1", status)
    assert re.search(r"Seccomp:\s+2", status)
    for attempt in (
        "mount -t tmpfs none /mnt",
        "mknod /tmp/disk b 254 0",
        "ip link set lo down",
        "sysctl -w net.ipv4.ip_forward=1",
        "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        "unshare --net true",
        "chroot /proc/1/root mount -t proc p /mnt",
    ):
        assert renter.run(inside, attempt)[0] != 0, attempt


def test_nothing_of_the_host_is_mounted(renter: FakeRenter, inside: Credentials):
    """No engine socket, no folder of the host, no device of its disks."""
    _, mounts = renter.run(inside, "cat /proc/mounts")
    kinds = {line.split()[2] for line in mounts.splitlines()}
    assert kinds <= {
        "overlay",
        "proc",
        "tmpfs",
        "devpts",
        "sysfs",
        "cgroup",
        "cgroup2",
        "mqueue",
        "ext4",
    }
    # The engine's own three files are all that comes from a disk.
    files = {line.split()[1] for line in mounts.splitlines() if line.split()[2] == "ext4"}
    assert files <= {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}
    assert renter.run(inside, "ls /var/run/docker.sock /dev/loop0 /dev/vda /dev/sda")[0] != 0
    _, devices = renter.run(inside, "find /dev -type b")
    assert devices == ""


def test_uploads_keep_to_their_rate(
    renter: FakeRenter, inside: Credentials, reply: AllocateReply, service: MinerService
):
    """The configured rate bites, also after a restart, and the tenant cannot lift it."""
    fetch = (
        "python3 -c 'import sys; d=b\"x\"*65536\nfor _ in range(160): sys.stdout.buffer.write(d)'"
    )
    for _ in range(2):
        client = renter.login(inside)
        _, out, _ = client.exec_command(
            f"S=$(date +%s%N); {fetch}; E=$(date +%s%N); echo $(( (E-S)/1000000 )) >&2"
        )
        while out.channel.recv(65536):
            pass
        took_ms = int(out.channel.recv_stderr(100).decode().split()[-1])
        client.close()
        rate_mbit = 160 * 65536 * 8 / 1000 / took_ms
        assert rate_mbit < 30, f"{rate_mbit} Mbit/s"
        assert renter.run(inside, "tc qdisc del dev eth0 root || ip link del eth0")[0] != 0
        renter.operate(reply.lease_id, LeaseAction.RESTART)


# --- walls ----------------------------------------------------------------------------------------


def reaches(renter: FakeRenter, inside: Credentials, address: str, port: int) -> bool:
    said = renter.run(inside, try_to_reach(address, port))[1].strip()
    assert said in {"reached", "not reached"}, said
    return said == "reached"


def host_addresses() -> list[str]:
    told = subprocess.run(
        ["ip", "-4", "-json", "addr"], capture_output=True, text=True, check=True
    ).stdout
    found = [one["local"] for link in json.loads(told) for one in link["addr_info"]]
    return [address for address in found if not address.startswith("127.")]


def test_the_internet_is_reached_but_not_what_is_private(
    renter: FakeRenter, inside: Credentials, lab: Internet
):
    """A public address answers; private networks and link-local metadata do not."""
    host = subprocess.run(
        ["bash", "-c", try_to_reach(lab.metadata, lab.port)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert host.stdout.strip() == "reached"  # it is there, for the host
    assert reaches(renter, inside, lab.public, lab.port)
    assert not reaches(renter, inside, lab.private, lab.port)
    assert not reaches(renter, inside, lab.metadata, lab.port)


def test_the_host_is_not_reached(renter: FakeRenter, inside: Credentials):
    """None of the host's addresses answers, the tenants' own gateway included."""
    with listener() as port:
        gateway = renter.run(inside, "ip route | awk '/default/ {print $3}'")[1].strip()
        addresses = {gateway, *host_addresses()}
        assert gateway in host_addresses()
        for address in addresses:
            assert not reaches(renter, inside, address, port), address


def test_neighbours_do_not_reach_each_other(
    service: MinerService, renter: FakeRenter, inside: Credentials, docker_host: str
):
    """Neither directly, nor by the other's published port."""
    other = renter.allocate(requirement=Requirement(memory_mib=128, disk_mib=DISK_MIB))
    api = docker.APIClient(base_url=docker_host)
    lease = service.host.ledger.get(other.lease_id)
    networks = api.inspect_container(lease.container)["NetworkSettings"]["Networks"]
    api.close()
    (network,) = networks.values()
    assert renter.run(renter.open(other), "true")[0] == 0
    assert not reaches(renter, inside, network["IPAddress"], 22)
    for address in (*host_addresses(), ADDRESS):
        assert not reaches(renter, inside, address, lease.assignment.host_port(22))
    _, text = renter.run(inside, "ls /proc/sys/net/ipv6/conf/eth0 2>/dev/null && ip -6 addr")
    assert "fe80" not in text


def test_a_lease_without_internet_reaches_nothing(
    tmp_path: Path, docker_host: str, base_image: BaseImage, lab: Internet
):
    """Where the miner does not offer the internet, only its renter gets in and nothing gets out."""
    service = real_service(tmp_path, docker_host, base_image.id, internet=False, on_stop="end")
    service.start()
    try:
        renter = FakeRenter(service)
        inside = renter.open(renter.allocate(requirement=Requirement(memory_mib=128)))
        assert not reaches(renter, inside, lab.public, lab.port)
        assert not reaches(renter, inside, lab.metadata, lab.port)
        assert renter.run(inside, "timeout 8 getent hosts example.com")[0] != 0
    finally:
        service.stop()


def test_a_host_that_cannot_enforce_does_not_promise(
    tmp_path: Path, docker_host: str, base_image: BaseImage
):
    """Without disk limits a size is refused, not ignored, and Specs says so."""
    service = real_service(tmp_path, docker_host, base_image.id, disk="none", on_stop="end")
    renter = FakeRenter(service)
    with pytest.raises(ComputeError) as refused:
        renter.allocate(requirement=Requirement(disk_mib=100))
    assert refused.value.code is Code.UNSUPPORTED
    assert service.specs.reply().terms.disk is DiskEnforcement.NONE


def test_a_disk_that_cannot_be_reserved_has_its_own_code(tmp_path: Path):
    """What the host has not is refused before anything is written, and leaves nothing."""
    disks = LoopDisks(tmp_path / "disks")
    layer = tmp_path / "layer"
    layer.mkdir()
    with pytest.raises(ComputeError) as refused:
        disks.attach("a" * 32, disks.room_mib() + 100_000, str(layer))
    assert refused.value.code is Code.DISK_FULL
    assert disks.known() == ()
