"""Whatever goes wrong is recognised as itself, on real miners, by the checker and the doctor."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from compute.adapters.chain.devchain.provision import Provision
from compute.cli.checking import check
from compute.domain.container import MANAGED, OWNER
from compute.errors import Code
from compute.settings.loading import load
from compute.settings.renter import CheckerSettings
from compute.testing.rig import ADDRESS, Rig, RigPlan, free_port
from tests.command import ROOT, run
from tests.integration.faults import (
    EngineFault,
    FaultyEngine,
    FaultyNetwork,
    NetworkFault,
)

pytestmark = pytest.mark.engine
OUTSIDE = "127.0.0.9"
FIRST_PORT = 21_000 + os.getpid() % 400 * 10
PORTS = range(FIRST_PORT, FIRST_PORT + 10)
LATE_S = 30


@pytest.fixture(scope="module")
def engine(tmp_path_factory, docker_host):
    with FaultyEngine(tmp_path_factory.mktemp("engine") / "sock", docker_host) as made:
        yield made


@pytest.fixture(scope="module")
def network():
    with FaultyNetwork(OUTSIDE, ADDRESS, PORTS) as made:
        yield made


@pytest.fixture(scope="module")
def rig(tmp_path_factory, engine, network, base_image):
    with Rig(tmp_path_factory.mktemp("rig") / "r", engine.url, RigPlan(block_s=0.25)) as made:
        made.register("miner")
        made.register("validator", stake=10_000.0)
        made.provision.advance(made.plan.tempo + 1)
        link = made.root / "link.sqlite"
        link.symlink_to(made.chain_file)
        miner = made.start_miner(
            leases__advertised_host=OUTSIDE,
            leases__first_port=str(PORTS[0]),
            leases__last_port=str(PORTS[-1]),
            leases__disk="none",
            leases__ready_s="5",
            gate__max_view_age_s="20",
            subtensor__network=f"dev:{link}",
        )
        made.wait_ready(miner)
        yield made


def probe(rig, *, uid=0, name="validator", **more):
    """Probe a miner as `neurons/miner_checker.py` does: its exit code and its checks by name."""
    report = rig.root / "report.json"
    settings = rig.flags(name) | {
        "miners": str(uid), "private_addresses": "true", "proof": "false",
        "ssh_timeout_s": "2", "json_file": str(report), "state": str(rig.root / "checker"),
    } | more  # fmt: skip
    argv = [part for key, value in settings.items() for part in (f"--{key}", value)]
    code = asyncio.run(check(load(CheckerSettings, argv, prog="checker"), asyncio.Event()))
    found = json.loads(report.read_text())[0]
    return code, {made["name"]: made for made in found["checks"]}


def failed(checks) -> dict[str, str]:
    """Names of failed checks with their codes; what to do is said for each."""
    bad = {name: made for name, made in checks.items() if made["outcome"] == "fail"}
    assert all(made["reason"] and made["remedy"] for made in bad.values())
    return {name: made["code"] for name, made in bad.items()}


def test_a_good_miner_passes(rig):
    """Through both relays, with no fault on, everything passes."""
    code, checks = probe(rig)
    assert (code, failed(checks)) == (0, {})


ENGINE_FAULTS = [
    (EngineFault.DOWN, {"allocate": Code.ENGINE_AWAY}),
    (EngineFault.NO_IMAGE, {"allocate": Code.IMAGE_MISSING}),
    (EngineFault.DISK_FULL, {"allocate": Code.DISK_FULL}),
    (EngineFault.NO_LIMITS, {"limits": Code.PROBE_LIMITS}),
    (EngineFault.OTHER_KEY, {"login": Code.SSH_KEY_REFUSED}),
]
NETWORK_FAULTS = [
    (NetworkFault.CLOSED, {"login": Code.SSH_CLOSED}),
    (NetworkFault.SILENT, {"login": Code.SSH_SILENT}),
    (NetworkFault.IMPOSTOR, {"login": Code.HOST_KEY}),
]


@pytest.mark.parametrize(("fault", "expected"), ENGINE_FAULTS)
def test_faults_of_the_engine_are_told_apart(rig, engine, fault, expected):
    """Engine down, image gone, disk full, limits not applied, key not accepted: a code each."""
    with engine.with_fault(fault):
        code, checks = probe(rig)
    assert failed(checks) == {name: code.spec.slug for name, code in expected.items()}
    assert code == next(iter(expected.values())).spec.exit_code


@pytest.mark.parametrize(("fault", "expected"), NETWORK_FAULTS)
def test_faults_on_the_way_are_told_apart(rig, network, fault, expected):
    """A closed port, a silent one, somebody in between: a code each, and nothing stays leased."""
    with network.with_fault(fault):
        time.sleep(0.2)  # until the relay's own loop has seen it
        code, checks = probe(rig)
    assert failed(checks) == {name: code.spec.slug for name, code in expected.items()}
    assert code == next(iter(expected.values())).spec.exit_code
    assert rig_leases(rig) == []


def rig_leases(rig) -> list:
    """What the miner has not ended yet, a moment later."""
    until = time.monotonic() + 10
    argv = ("--state", str(rig.root / "miner"), "miner", "leases", "--json")
    while (live := run(*argv).json("miner leases")) and time.monotonic() < until:
        time.sleep(0.2)
    return live


def test_a_teardown_that_was_not_done_is_seen(rig, engine, engine_client):
    """The engine says that it removed the container; the port still answers."""
    try:
        with engine.with_fault(EngineFault.NO_REMOVAL):
            code, checks = probe(rig)
        assert failed(checks) == {"gone": "probe_teardown"}
        assert code == Code.PROBE_TEARDOWN.spec.exit_code
    finally:
        labels = [f"{MANAGED}=1", f"{OWNER}={rig.owner()}"]
        for left in engine_client.containers.list(all=True, filters={"label": labels}):
            left.remove(force=True)


@contextmanager
def second_miner(rig, name, role="miner", env=None, **more):
    """Another miner on the rig, for as long as it is needed; its UID."""
    uid = rig.register(name)
    settings = {
        "axon__host": ADDRESS, "axon__external_ip": ADDRESS, "axon__port": str(free_port()),
        "leases__bind_address": ADDRESS, "leases__advertised_host": ADDRESS,
        "leases__first_port": str(PORTS[-1] + 100), "leases__last_port": str(PORTS[-1] + 120),
        "leases__disk": "none", "gate__least_stake": "1",
    }  # fmt: skip
    miner = rig.neuron(role, name, **(settings | more))
    miner._env |= env or {}
    miner.start()
    rig.wait_ready(miner)
    try:
        yield uid
    finally:
        miner.stop()
        del rig.neurons[name]


def test_a_gpu_that_is_not_there_is_counted(rig, engine):
    """A miner claims a GPU and leases a container without one."""
    role = "../tests/integration/boasting_miner"
    with second_miner(rig, "boaster", role) as uid, engine.with_fault(EngineFault.NO_GPUS):
        code, checks = probe(rig, uid=uid)
    assert failed(checks) == {"gpus": "probe_gpus"}
    assert code == Code.PROBE_GPUS.spec.exit_code
    assert "0 GPUs inside, 1 were leased" in checks["gpus"]["reason"]


@contextmanager
def beating(rig):
    """Keep the chain's file moving by the true time, as other neurons do."""
    stop = threading.Event()
    chain = Provision(rig.chain_file)

    def beat():
        while not stop.wait(0.1):
            chain.advance(0)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        chain.close()


def late(**more) -> dict[str, str]:
    folder = ROOT / "tests" / "integration" / "late"
    return {"PYTHONPATH": str(folder), "LATE_S": str(LATE_S), **more}


def test_a_wrong_clock_is_blamed_on_whose_it_is(rig):
    """The checker's own clock makes it inconclusive; the miner's is the miner's failure."""
    settings = rig.flags("validator") | {"miners": "0", "private_addresses": "true"}
    argv = [part for key, value in settings.items() for part in (f"--{key}", value)]
    with beating(rig):
        done = subprocess.run(
            [sys.executable, "neurons/miner_checker.py", *argv, "--json"],
            cwd=ROOT, env=rig.environment() | late(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        ours = json.loads(done.stdout)[0]["checks"][0]
        assert done.returncode == Code.PROBE_INCONCLUSIVE.spec.exit_code
        assert (ours["outcome"], ours["code"]) == ("inconclusive", "stale")
        assert "s behind the chain's" in ours["reason"]
        with second_miner(rig, "late", env=late()) as uid:
            code, checks = probe(rig, uid=uid)
    assert failed(checks) == {"specs": "probe_clock"}
    assert code == Code.PROBE_CLOCK.spec.exit_code


def doctor(rig, *arguments, name="miner", **env):
    """The doctor's exit code and its checks by name, with the settings of a miner on the rig."""
    flags = rig.flags(name) | {"state": str(rig.root / "doctor")} | env.pop("flags", {})
    named = {
        "network": flags["subtensor.network"], "netuid": flags["netuid"],
        "wallet": flags["wallet.name"], "wallet-path": flags["wallet.path"],
        "state": flags["state"],
    }  # fmt: skip
    argv = [part for key, value in named.items() for part in (f"--{key}", value)]
    ran = run(*argv, "doctor", *arguments, "--json", env={"DOCKER_HOST": rig.docker_host, **env})
    return ran.code, {made["name"]: made for made in ran.json("doctor")["checks"]}


def test_the_doctor_finds_nothing_wrong_with_a_good_host(rig):
    """Every check of a miner's host passes or warns; what depends on a running miner is seen."""
    code, checks = doctor(rig, "--set", f"axon.port={free_port()}", "--set", "axon.host=" + ADDRESS)
    assert (code, failed(checks)) == (0, {}), checks
    assert {"engine", "base_image", "clock", "registered", "port"} <= set(checks)
    miner = rig.neurons["miner"]
    port = miner.arguments[miner.arguments.index("--axon.port") + 1]
    code, checks = doctor(
        rig, "--set", f"axon.port={port}", "--set", f"axon.host={ADDRESS}",
        flags={"state": str(rig.root / "miner")},
    )  # fmt: skip
    assert code == 0
    assert "the running miner listens" in checks["port"]["reason"]
    assert "answers from here" in checks["announced"]["reason"]


HOST_FAULTS = {
    "engine down": (["--check", "engine"], {"DOCKER_HOST": "unix:///no.sock"}, "engine_away"),
    "no image": (
        ["--check", "base_image", "--set", "image.base=no/such:base"], {}, "image_missing",
    ),
    "port taken": (["--check", "port", "--set", "axon.host=" + ADDRESS], {}, "port_taken"),
    "chain away": (["--check", "clock"], {"flags": {"subtensor.network": "dev:/no"}}, "chain_away"),
    "no wallet": (["--check", "wallet"], {"flags": {"wallet.name": "x"}}, "wallet_missing"),
    "no subnet": (["--check", "registered"], {"flags": {"netuid": "9"}}, "subnet_missing"),
    "no state": (["--check", "state"], {"flags": {"state": "/dev/null/s"}}, "storage_failed"),
    "no room": (
        ["--check", "disk", "--set", "leases.reserve_disk_mib=99999999"], {}, "disk_full",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", HOST_FAULTS)
def test_faults_of_the_host_are_told_apart(rig, fault):
    """One fault, one failed check, its own code and exit code; what stands on it is left out."""
    arguments, env, slug = HOST_FAULTS[fault]
    if fault == "port taken":
        miner = rig.neurons["miner"]
        port = miner.arguments[miner.arguments.index("--axon.port") + 1]
        arguments = [*arguments, "--set", f"axon.port={port}"]
    code, checks = doctor(rig, *arguments, **env)
    assert list(failed(checks).values()) == [slug]
    assert code == Code.of(slug).spec.exit_code


def test_a_full_disk_is_seen_by_writing(rig, tmp_path):
    """A state folder on a full file system."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "filler").write_bytes(bytes(64 * 1024))
        code, checks = doctor(rig, "--check", "state", flags={"state": str(tmp_path)})
        assert failed(checks) == {"state": "disk_full"}
        assert code == Code.DISK_FULL.spec.exit_code
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_doctor_sees_a_wrong_clock(rig):
    """Everybody else's blocks come from the future: this clock is behind."""
    settings = rig.flags("miner")
    with beating(rig):
        done = subprocess.run(
            [
                sys.executable, "-m", "compute.cli.main", "--json",
                "--network", settings["subtensor.network"], "doctor", "--check", "clock",
            ],
            cwd=ROOT, env=rig.environment() | late(), capture_output=True, text=True, check=False,
        )  # fmt: skip
    clock = json.loads(done.stdout)["checks"][-1]
    assert done.returncode == Code.STALE.spec.exit_code, done
    assert (clock["outcome"], clock["code"]) == ("fail", "stale")
    assert "NTP" in clock["remedy"]


def test_a_miner_that_lost_the_chain_is_told_from_a_lost_chain(rig):
    """Known callers are warned of the stale view, strangers are turned away for it."""
    link = rig.root / "link.sqlite"
    link.unlink()
    try:
        rig.register("stranger", stake=10_000.0)
        deadline = time.monotonic() + 40
        while probe(rig)[1]["view"]["outcome"] == "pass":
            assert time.monotonic() < deadline
            time.sleep(1)
        code, checks = probe(rig)
        assert (checks["view"]["outcome"], checks["view"]["code"]) == ("warn", "probe_view")
        assert (code, failed(checks)) == (0, {})
        code, checks = probe(rig, name="stranger")
        assert failed(checks) == {"specs": "probe_view"}
        assert code == Code.PROBE_VIEW.spec.exit_code
    finally:
        link.symlink_to(rig.chain_file)
