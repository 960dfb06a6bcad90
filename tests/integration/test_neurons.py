"""Neurons as processes on a real engine: they end when told, and leases end without them."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from compute.adapters.chain import SdkChain, make_wallet
from compute.adapters.ssh.session import SshSession
from compute.domain.container import OWNER
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError
from compute.protocol.dendrite import Dendrite, Peer
from compute.protocol.synapses import SPECS, LeaseAction, SpecsRequest
from compute.protocol.tls import fingerprint
from compute.renter.book import LeaseBook, LeaseRecord
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.testing.leftovers import Leftovers, count_leftovers
from compute.testing.rig import ADDRESS, NEURONS, Rig, RigPlan, free_port

pytestmark = pytest.mark.engine
LIMIT_S = 10.0


@pytest.fixture
def rig(tmp_path, docker_host, base_image):
    with Rig(tmp_path / "rig", docker_host, RigPlan(block_s=0.25)) as made:
        made.register("miner")
        made.register("validator", stake=10_000.0)
        made.provision.advance(made.plan.tempo + 1)
        yield made


async def rent(rig: Rig, seconds: int, name: str = "one") -> LeaseRecord:
    async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
        book = LeaseBook(rig.root / "renter")
        renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=rig.plan.netuid)
        peer = await peer_of_miner(rig)
        return await renter.up(peer, Wish(seconds, Requirement(memory_mib=256)), name=name)


async def status(rig: Rig, record: LeaseRecord):
    async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
        book = LeaseBook(rig.root / "renter")
        renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=rig.plan.netuid)
        return await renter.operate(record, LeaseAction.STATUS)


async def peer_of_miner(rig: Rig):
    chain = SdkChain(rig.network, rig.plan.netuid, rig.wallet("validator"))
    try:
        neuron = (await chain.metagraph()).neuron(rig.wallet("miner").hotkey.ss58_address)
        assert neuron is not None
        return peer_of(neuron)
    finally:
        await chain.close()


def containers(client: docker.DockerClient, owner: str) -> list:
    return client.containers.list(all=True, filters={"label": f"{OWNER}={owner}"})


def test_sigterm_ends_everything_within_ten_seconds(rig, engine_client):
    """Both neurons end with exit code 0 in time, in the middle of their work, leaving nothing."""
    miner = rig.start_miner()
    rig.wait_ready(miner)
    validator = rig.start_validator(
        validation__cadence__specs="4", validation__cadence__proofs="8", validation__poll_s="0.25"
    )
    rig.wait("a proof under way", lambda: "proof" in validator.log.read_text(), 60)
    record = asyncio.run(rent(rig, 12))
    pids = [miner.pid, validator.pid]
    for neuron in (validator, miner):
        code, seconds = neuron.stop()
        assert (code, seconds < LIMIT_S) == (0, True)
    deadline = record.credentials.expires_at
    left = Leftovers(containers=1)
    while left != Leftovers() and time.time() < deadline + 20:
        time.sleep(0.5)
        left = count_leftovers(engine_client, [rig.owner()], pids, rig.root)
    # The lease ran to its end though its miner had stopped; then nothing was left.
    assert left == Leftovers()


def test_a_lease_ends_on_time_though_its_miner_was_killed(rig, engine_client):
    """SIGKILL in the middle of a lease, a restart, and the lease ends at its deadline, signed."""
    miner = rig.start_miner()
    rig.wait_ready(miner)
    record = asyncio.run(rent(rig, 15))
    port = miner.arguments[miner.arguments.index("--axon.port") + 1]
    assert len(containers(engine_client, rig.owner())) == 1
    miner.stop(signal.SIGKILL)
    again = rig.start_miner(axon__port=port)
    rig.wait_ready(again)
    keys = LeaseBook(rig.root / "renter").keys("one")
    with SshSession(record.credentials, keys.ssh.private) as session:
        assert session.run("echo alive").stdout == "alive\n"
    while (reply := asyncio.run(status(rig, record))).ended_at is None:
        assert time.time() < record.credentials.expires_at + 10
        time.sleep(0.2)
    assert 0 <= reply.ended_at - record.credentials.expires_at < 2
    assert reply.teardown is not None
    assert containers(engine_client, rig.owner()) == []


def test_a_lease_ends_though_its_miner_never_comes_back(rig, engine_client):
    """SIGKILL and no restart: the guard beside the miner ends the lease all the same."""
    miner = rig.start_miner()
    rig.wait_ready(miner)
    record = asyncio.run(rent(rig, 10))
    miner.stop(signal.SIGKILL)
    owner = rig.owner()
    assert len(containers(engine_client, owner)) == 1
    while containers(engine_client, owner):
        assert time.time() < record.credentials.expires_at + 15
        time.sleep(0.3)
    assert time.time() >= record.credentials.expires_at


def run_neuron(rig: Rig, role: str, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(NEURONS / f"{role}.py"), *arguments],
        env=rig.environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def arguments(rig: Rig, name: str, **changed: str) -> list[str]:
    settings = rig.flags(name) | {key.replace("__", "."): value for key, value in changed.items()}
    return [part for key, value in settings.items() for part in (f"--{key}", value)]


def wrong_inputs(rig: Rig, port: int) -> dict[str, tuple[str, list[str], dict[str, str], Code]]:
    """Each mistake that a person makes: role, arguments, environment, expected error."""
    away = {"DOCKER_HOST": f"unix://{rig.root}/no.sock"}
    axon = {"axon__host": ADDRESS, "axon__external_ip": ADDRESS, "axon__port": str(port)}
    file = str(rig.root / "gone.sqlite")
    return {
        "unknown flag": ("miner", ["--axon.prot", "1"], {}, Code.USAGE),
        "value out of bounds": ("miner", ["--axon.port", "99999"], {}, Code.USAGE),
        "missing wallet": ("miner", arguments(rig, "nobody"), {}, Code.WALLET_MISSING),
        "missing validator wallet": (
            "validator",
            arguments(rig, "nobody"),
            {},
            Code.WALLET_MISSING,
        ),
        "unregistered hotkey": (
            "miner",
            arguments(rig, "stranger", **axon),
            {},
            Code.NOT_REGISTERED,
        ),
        "unregistered validator": (
            "validator",
            arguments(rig, "stranger"),
            {},
            Code.NOT_REGISTERED,
        ),
        "no subnet": (
            "miner",
            arguments(rig, "miner", netuid="9", **axon),
            {},
            Code.SUBNET_MISSING,
        ),
        "no engine": ("miner", arguments(rig, "miner", **axon), away, Code.ENGINE_AWAY),
        "port taken": ("miner", arguments(rig, "miner", **axon), {}, Code.PORT_TAKEN),
        "chain away": (
            "miner",
            arguments(rig, "miner", subtensor__network=f"dev:{file}", **axon),
            {},
            Code.CHAIN_AWAY,
        ),
        "unknown policy": (
            "validator",
            arguments(rig, "validator", validation__policy="/no/policy.toml"),
            {},
            Code.USAGE,
        ),
        "unknown miner": (
            "miner_checker",
            arguments(rig, "validator", miners="77"),
            {},
            Code.USAGE,
        ),
    }


CASES = (
    "unknown flag",
    "value out of bounds",
    "missing wallet",
    "missing validator wallet",
    "unregistered hotkey",
    "unregistered validator",
    "no subnet",
    "no engine",
    "port taken",
    "chain away",
    "unknown policy",
    "unknown miner",
)


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_one_line_with_a_hint(case, rig):
    """One clear line, the documented exit code, and never a traceback."""
    make_wallet(rig.wallets, "stranger", "default")
    port = free_port()
    with socket.socket() as taken:
        if case == "port taken":
            taken.bind((ADDRESS, port))
            taken.listen()
        role, argv, environment, code = wrong_inputs(rig, port)[case]
        exit_code, said = run_neuron(rig, role, *argv, **environment)
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert exit_code == code.spec.exit_code, said
    assert len(lines) == 1
    assert f"({code.spec.slug})" in lines[0]
    assert "Traceback" not in said
    assert len(lines[0].split("). ", 1)[1]) > len("a hint.")


def relayed(relay: Path, docker_host: str) -> subprocess.Popen[bytes]:
    """Another way to the engine, which a test can cut."""
    relay.unlink(missing_ok=True)
    program = str(Path(__file__).with_name("unix_relay.py"))
    return subprocess.Popen([sys.executable, program, str(relay), docker_host])


def test_the_engine_may_go_away_and_come_back(rig, tmp_path):
    """Without its engine a miner serves on and refuses leases; with it again, it leases."""
    relay, engine = tmp_path / "engine.sock", rig.docker_host
    forward = relayed(relay, engine)
    try:
        rig.wait("relay", relay.exists, 10)
        rig.docker_host = f"unix://{relay}"
        miner = rig.start_miner()
        rig.wait_ready(miner)
        forward.kill()
        forward.wait()
        with pytest.raises(ComputeError) as caught:
            asyncio.run(rent(rig, 10))
        assert caught.value.code is Code.ENGINE_AWAY
        assert miner.running
        assert "Traceback" not in miner.log.read_text()
        forward = relayed(relay, engine)

        def again():
            try:
                return asyncio.run(rent(rig, 5, name="again"))
            except ComputeError as error:
                # What the outage cut short is cleared first, and holds its processor until then.
                if error.code not in (Code.ENGINE_AWAY, Code.NO_CAPACITY):
                    raise
                return None

        assert rig.wait("lease", again, 30).credentials
        code, seconds = miner.stop()
        assert (code, seconds < LIMIT_S) == (0, True)
        owner = rig.owner()
        rig.wait("end of the guard", lambda: not count(rig, owner), 30)
    finally:
        forward.kill()
        forward.wait()


def count(rig: Rig, owner: str) -> int:
    """Containers and processes of a rig's miner that are still there."""
    client = docker.DockerClient(base_url=rig.docker_host)
    try:
        left = count_leftovers(client, [owner], [], rig.root)
    finally:
        client.close()
    return left.containers + left.networks + left.processes


def test_the_chain_may_go_away_and_come_back(rig):
    """With the chain away both neurons go on; the miner still serves whom it knew before."""
    miner = rig.start_miner()
    rig.wait_ready(miner)
    validator = rig.start_validator(validation__poll_s="0.25")
    rig.wait("validator", lambda: "validator_starts" in validator.log.read_text(), 30)
    away = rig.root / "away"
    away.mkdir()
    files = [path for path in rig.root.iterdir() if path.name.startswith("chain.sqlite")]
    for path in files:
        path.rename(away / path.name)
    rig.chain_file.mkdir()  # so that nothing is opened or made in its place
    time.sleep(2)
    assert miner.running
    assert validator.running
    peer = Peer(rig.wallet("miner").hotkey.ss58_address, ADDRESS, port_of(miner))

    async def specs():
        async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
            return (await dendrite.call(peer, SPECS, SpecsRequest())).reply

    assert asyncio.run(specs()).total.cpus >= 1
    rig.chain_file.rmdir()
    for path in files:
        (away / path.name).rename(path)
    for neuron in (validator, miner):
        assert "Traceback" not in neuron.log.read_text()
        code, seconds = neuron.stop()
        assert (code, seconds < LIMIT_S) == (0, True)


def test_a_submitter_sets_what_its_master_has_published(rig):
    """The submit-only role fetches the master's signed vector and sets the same on chain."""
    submitter_uid = rig.register("submitter", stake=10_000.0)
    rig.provision.advance(rig.plan.tempo + 1)
    rig.wait_ready(rig.start_miner())
    port = free_port("127.0.0.1")
    fast = {"validation__poll_s": "0.25", "validation__cadence__jitter": "0"}
    rounds = {"validation__cadence__specs": "8", "validation__cadence__proofs": "16"}
    rig.start_validator(api_port=str(port), **fast, **rounds)
    submitter = rig.neuron(
        "validator", "submitter", role="submitter", master=f"http://127.0.0.1:{port}", **fast
    )
    submitter.start()
    rows = rig.wait("weights of both", lambda: w if len(w := rig.weights()) == 2 else None, 90)
    assert rows[submitter_uid] == {0: 1.0}
    assert submitter.stop()[0] == 0


def port_of(miner) -> int:
    return int(miner.arguments[miner.arguments.index("--axon.port") + 1])


async def ask_specs(rig: Rig, peer: Peer) -> int:
    async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
        return (await dendrite.call(peer, SPECS, SpecsRequest())).reply.total.cpus


def test_an_axon_with_a_certificate_is_found_pinned_and_taken_back(rig, tmp_path):
    """The fingerprint reaches callers through the chain; a wrong or missing pin gets no answer."""
    file = tmp_path / "axon.pem"
    miner = rig.start_miner(axon__certificate=str(file))
    rig.wait_ready(miner)
    peer = asyncio.run(peer_of_miner(rig))
    assert peer.certificate_sha256 == fingerprint(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert asyncio.run(ask_specs(rig, peer)) > 0
    for pin, code in ((b"\x07" * 32, Code.PEER_INVALID), (None, Code.PEER_AWAY)):
        with pytest.raises(ComputeError) as refused:
            asyncio.run(ask_specs(rig, replace(peer, certificate_sha256=pin)))
        assert refused.value.code is code
    assert miner.stop()[0] == 0
    rig.wait_ready(rig.start_miner())
    plain = rig.wait("a plain axon", lambda: without_pin(asyncio.run(peer_of_miner(rig))), 30)
    assert asyncio.run(ask_specs(rig, plain)) > 0


def without_pin(peer: Peer) -> Peer | None:
    return peer if peer.certificate_sha256 is None else None
