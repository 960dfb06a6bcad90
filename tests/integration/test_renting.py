"""A renter on a real miner: every verb, every way in which SSH can fail, and the checker."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compute.adapters.chain import SdkChain
from compute.adapters.ssh.session import SshSession
from compute.crypto import sshkeys
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, PeerError
from compute.protocol.dendrite import Dendrite
from compute.protocol.synapses import LeaseAction, LeaseArguments
from compute.renter.book import LeaseBook
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.testing.rig import Rig, RigPlan

pytestmark = pytest.mark.engine
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rig(tmp_path_factory, docker_host, base_image):
    with Rig(tmp_path_factory.mktemp("rig") / "r", docker_host, RigPlan(block_s=0.25)) as made:
        made.register("miner")
        made.register("validator", stake=10_000.0)
        made.register("other", stake=10_000.0)
        made.provision.advance(made.plan.tempo + 1)
        made.wait_ready(made.start_miner())
        yield made


def renting(rig: Rig, work, *, name: str = "validator", state: str = "renter"):
    """Run asynchronous work with a renter, and the miner's address."""

    async def whole():
        chain = SdkChain(rig.network, rig.plan.netuid, rig.wallet(name))
        async with Dendrite(rig.wallet(name), allow_private=True) as dendrite:
            try:
                metagraph = await chain.metagraph()
            finally:
                await chain.close()
            peer = peer_of(metagraph.neuron(rig.wallet("miner").hotkey.ss58_address))
            book = LeaseBook(rig.root / state)
            renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=rig.plan.netuid)
            return await work(renter, peer)

    return asyncio.run(whole())


@pytest.fixture
def lease(rig, request):
    """A lease of a minute, released after the test."""
    name = f"l{abs(hash(request.node.name)) % 10**8}"
    wish = Wish(60, Requirement(memory_mib=256))
    record = renting(rig, lambda renter, peer: renter.up(peer, wish, name=name))
    yield record
    renting(rig, lambda renter, _: renter.down(record))


def compute(
    rig: Rig, *arguments: str, state: str = "renter", stdin: str = ""
) -> tuple[int, str, str]:
    flags = rig.flags("validator")
    command = [sys.executable, "-m", "compute.cli.main", "--network", flags["subtensor.network"]]
    command += ["--netuid", flags["netuid"], "--wallet", "validator"]
    command += ["--wallet-path", flags["wallet.path"], "--state", str(rig.root / "renter")]
    done = subprocess.run(
        [*command, *arguments],
        env=rig.environment() | {"COMPUTE_PRIVATE_ADDRESSES": "true"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_renter_walks_through_every_verb(rig):
    """From the offers to the end of a lease, as a person types it."""
    code, out, _ = compute(rig, "--json", "ls")
    assert (code, json.loads(out)[0]["uid"]) == (0, 0)
    code, out, _ = compute(rig, "up", "--dry-run", "--ttl", "1m")
    assert (code, "available now" in out) == (0, True)
    code, out, err = compute(
        rig, "up", "--ttl", "2m", "--memory", "300m", "--name", "walk", "--json"
    )
    assert code == 0, err
    record = json.loads(out)
    assert record["name"] == "walk"
    code, out, _ = compute(rig, "ps", "--json")
    assert [row["state"] for row in json.loads(out) if row["name"] == "walk"] == ["up"]
    code, out, _ = compute(rig, "exec", "walk", "--", "sh", "-c", "cat; exit 7", stdin="through")
    assert (code, out) == (7, "through")
    assert compute(rig, "ssh", "walk", "id", "-un")[:2] == (0, "root\n")
    code, out, _ = compute(rig, "verify", "walk", "--json")
    assert (code, json.loads(out)["passed"]) == (0, True)
    assert compute(rig, "pause", "walk")[0] == 0
    assert json.loads(compute(rig, "show", "walk", "--json")[1])["state"] == "paused"
    assert compute(rig, "unpause", "walk")[0] == 0
    assert compute(rig, "exec", "walk", "--", "touch", "/root/kept")[0] == 0
    assert compute(rig, "restart", "walk")[0] == 0
    assert compute(rig, "exec", "walk", "--", "test", "-e", "/root/kept")[0] == 0
    assert compute(rig, "rekey", "walk")[0] == 0
    assert compute(rig, "ssh", "walk", "true")[0] == 0
    before = json.loads(compute(rig, "show", "walk", "--json")[1])["expires_at"]
    assert compute(rig, "extend", "walk", "1m")[0] == 0
    after = json.loads(compute(rig, "show", "walk", "--json")[1])
    assert round(after["expires_at"] - before) == 60
    assert {"requested", "ready", "paused", "restarted"} <= {e["event"] for e in after["events"]}
    assert "Accepted publickey" in json.loads(compute(rig, "logs", "walk", "--json")[1])["logs"]
    assert compute(rig, "down", "walk", "--dry-run")[0] == 0
    assert compute(rig, "down", "walk")[:2] == (0, "walk: ended\n")
    over = json.loads(compute(rig, "show", "walk", "--json")[1])
    assert (over["state"], over["reason"]) == ("ended", "released")
    assert over["teardown"]["checks"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["frobnicate"], Code.USAGE),
        (["ps", "--bogus"], Code.USAGE),
        (["up", "--ttl", "soon"], Code.USAGE),
        (["up", "--gpu", "H100", "--ttl", "1m"], Code.NO_CAPACITY),
        (["up", "--miner", "0", "--count", "1", "--ttl", "1m"], Code.NO_CAPACITY),
        (["up", "--miner", "99", "--ttl", "1m"], Code.USAGE),
        (["up", "--miner", "1", "--ttl", "1m"], Code.PEER_AWAY),
        (["up", "--miner", "0", "--ttl", "300d"], Code.TOO_LONG),
        (["up", "--miner", "0", "--ttl", "1m", "--image", "a@sha256:" + "0" * 64], None),
        (["show", "nobody"], Code.LEASE_UNKNOWN),
        (["ssh", "../../etc"], Code.LEASE_UNKNOWN),
        (["explain", "no_such_code"], Code.USAGE),
    ],
)
def test_mistakes_are_one_line_and_one_envelope(rig, arguments, code):
    """Every mistake has its exit code, one line for people, and the same as data."""
    exit_code, _, said = compute(rig, *arguments)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    again, out, _ = compute(rig, "--json", *arguments)
    envelope = json.loads(out)
    assert set(envelope) == {"code", "message", "hint", "exit_code", "trace"}
    assert exit_code == again == envelope["exit_code"]
    assert code is None or envelope["code"] == code.spec.slug


def test_the_same_request_gives_the_same_lease(rig):
    """An answer that was lost is asked for again; there is one lease, not two."""
    wish = Wish(60, Requirement(memory_mib=256))

    async def twice(renter, peer):
        first = await renter.up(peer, wish, name="again")
        lost = first.model_copy(update={"credentials": None})
        renter.book.save(lost)
        second = await renter.resume(lost)
        await renter.down(second)
        return first, second

    first, second = renting(rig, twice)
    assert first.credentials == second.credentials


def test_only_the_owner_with_the_key_operates_on_a_lease(rig, lease):
    """Another hotkey with the key, and the owner without it, are both refused."""

    async def status(renter, _peer):
        return await renter.operate(lease, LeaseAction.STATUS)

    with pytest.raises(ComputeError) as stranger:
        renting(rig, status, name="other")
    assert stranger.value.code in (Code.LEASE_UNKNOWN, Code.DENIED)

    async def keyless(renter, _peer):
        book = LeaseBook(rig.root / "thief")
        book.open(lease)
        thief = Renter(renter._dendrite, book, hotkey=renter._hotkey, netuid=1)
        return await thief.operate(lease, LeaseAction.RELEASE)

    with pytest.raises(ComputeError) as thief:
        renting(rig, keyless)
    assert thief.value.code is Code.POSSESSION


def session_error(credentials, key: str, timeout_s: float = 4.0) -> PeerError:
    with pytest.raises(PeerError) as caught:
        SshSession(credentials, key, timeout_s=timeout_s)
    return caught.value


def test_ssh_faults_are_told_apart(rig, lease):
    """A closed port, a wrong host key, a refused key and silence have a code each."""
    credentials = lease.credentials
    key = LeaseBook(rig.root / "renter").keys(lease.name).ssh.private
    other = sshkeys.generate()
    assert session_error(credentials.model_copy(update={"port": 1}), key).code is Code.SSH_CLOSED
    pinned = credentials.model_copy(update={"host_key": other.public})
    assert session_error(pinned, key).code is Code.HOST_KEY
    assert session_error(credentials, other.private).code is Code.SSH_KEY_REFUSED
    renting(rig, lambda renter, _: renter.operate(lease, LeaseAction.PAUSE))
    assert session_error(credentials, key).code is Code.SSH_SILENT
    renting(rig, lambda renter, _: renter.operate(lease, LeaseAction.UNPAUSE))
    with SshSession(credentials, key) as session:
        assert session.run("true").exit_code == 0


def test_an_exchanged_key_is_the_only_one(rig, lease):
    """After `exchange_key` the old key is refused and the new one logs in, with no restart."""
    old = LeaseBook(rig.root / "renter").keys(lease.name).ssh.private
    fresh = sshkeys.generate()
    with SshSession(lease.credentials, old) as session:
        started = session.run("stat -c %Y /proc/1").stdout
    arguments = LeaseArguments(ssh_public_key=fresh.public)
    renting(rig, lambda r, _: r.operate(lease, LeaseAction.EXCHANGE_KEY, arguments))
    assert session_error(lease.credentials, old).code is Code.SSH_KEY_REFUSED
    with SshSession(lease.credentials, fresh.private) as session:
        assert session.run("stat -c %Y /proc/1").stdout == started


def test_what_a_session_runs_is_bounded(rig, lease):
    """A command without an end, and output without an end, cost their limits and no more."""
    key = LeaseBook(rig.root / "renter").keys(lease.name).ssh.private
    with SshSession(lease.credentials, key) as session:
        begun = time.monotonic()
        with pytest.raises(PeerError) as caught:
            session.run("sleep 60", timeout_s=1)
        assert caught.value.code is Code.SSH_SILENT
        assert time.monotonic() - begun < 5
        result = session.run("head -c 6000000 /dev/zero", timeout_s=20)
        assert len(result.stdout) == 4 * 1024 * 1024
        session.put(b"\x00\xff'\n", "/root/it's")
        assert session.run('od -An -tx1 "/root/it\'s"').stdout.split() == ["00", "ff", "27", "0a"]


def test_the_lease_folder_is_private_and_plain_ssh_reads_it(rig, lease):
    """Keys are readable by their owner only; the include file names every lease."""
    book = LeaseBook(rig.root / "renter")
    folder = book.folder(lease.name)
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    done = subprocess.run(
        ["ssh", "-F", str(book.include), lease.name, "echo", "plain"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "plain\n"), done.stderr


def test_the_checker_passes_a_good_miner_and_names_a_bad_one(rig):
    """Exit code 0 and every check passed; a neuron without an axon is `peer_away`."""
    good = rig.neuron(
        "miner_checker", "validator", log="good", miners="0", private_addresses="true",
        json_file=str(rig.root / "good.json"), state=str(rig.root / "checker"),
    )  # fmt: skip
    good.start()
    assert good.process.wait(90) == 0, good.tail(20)
    report = json.loads((rig.root / "good.json").read_text())[0]
    names = [check["name"] for check in report["checks"]]
    assert report["ok"]
    assert names == [
        *("specs", "capacity", "allocate", "login", "command", "gpus", "limits", "isolation"),
        *("proof", "release", "gone"),
    ]
    bad = rig.neuron(
        "miner_checker", "validator", log="bad", miners="1", private_addresses="true",
        state=str(rig.root / "checker"),
    )  # fmt: skip
    bad.start()
    assert bad.process.wait(60) == Code.PEER_AWAY.spec.exit_code
    rig.neurons.pop("bad")
