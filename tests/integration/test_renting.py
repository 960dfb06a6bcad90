"""A renter on a real miner: every verb, every way in which SSH can fail, and the checker."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from base64 import b64decode
from hashlib import sha256

import pytest

from compute.adapters.chain import SdkChain
from compute.adapters.ssh.session import SshSession
from compute.crypto import sshkeys
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, PeerError
from compute.proof import wire
from compute.proof.program import prover_program
from compute.protocol.dendrite import Dendrite
from compute.protocol.synapses import LeaseAction, LeaseArguments
from compute.renter.book import LeaseBook
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.testing.rig import Rig, RigPlan
from tests.command import COMMAND, ROOT, Ran, run, run_process
from tests.unit.test_proof_vectors import SESSIONS, _requests

pytestmark = pytest.mark.engine


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


def flags(rig: Rig) -> list[str]:
    """What a renter on the rig types before the verb."""
    found = rig.flags("validator")
    named = {
        "network": found["subtensor.network"], "netuid": found["netuid"],
        "wallet": "validator", "wallet-path": found["wallet.path"],
        "state": str(rig.root / "renter"),
    }  # fmt: skip
    return [part for name, value in named.items() for part in (f"--{name}", value)]


PRIVATE = {"COMPUTE_PRIVATE_ADDRESSES": "true"}


def compute(rig: Rig, *arguments: str, stdin: str = "") -> Ran:
    """Run a verb as a renter on the rig."""
    return run(*flags(rig), *arguments, stdin=stdin, env=PRIVATE)


def compute_process(rig: Rig, *arguments: str) -> Ran:
    """The same as a process of its own, for what hands the process over to ssh."""
    return run_process(*flags(rig), *arguments, env=rig.environment() | PRIVATE)


def data(rig: Rig, verb: str, *arguments: str, as_verb: str = ""):
    """A verb's output as data, checked against its published schema."""
    ran = compute(rig, *verb.split(), *arguments, "--json")
    assert ran.code == 0, ran
    return ran.json(as_verb or verb)


def test_a_renter_walks_through_every_verb(rig):
    """From the offers to the end of a lease, as a person types it; every answer by its schema."""
    assert [offer["uid"] for offer in data(rig, "ls")] == [0]
    assert data(rig, "quote", "--ttl", "1m")[0]["available"]
    assert data(rig, "up", "--dry-run", "--ttl", "1m", as_verb="up --dry-run")[0]["available"]
    record = data(rig, "up", "--ttl", "3m", "--memory", "300m", "--port", "8000", "--name", "walk")
    assert record["name"] == "walk"
    assert [row["state"] for row in data(rig, "ps") if row["name"] == "walk"] == ["up"]
    assert [r["state"] for r in data(rig, "ps", "--refresh") if r["name"] == "walk"] == ["active"]
    ran = compute(rig, "exec", "walk", "--", "sh", "-c", "cat; exit 7", stdin="through")
    assert (ran.code, ran.out) == (7, "through")
    assert data(rig, "exec", "walk", "id -un")["stdout"] == "root\n"
    assert compute_process(rig, "ssh", "walk", "id", "-un").out == "root\n"
    verified = data(rig, "verify", "walk", "--transcript", str(rig.root / "proof.mgx"))
    assert verified["passed"]
    assert data(rig, "transcript verify", str(rig.root / "proof.mgx"))["passed"]
    assert data(rig, "pause", "walk")["state"] == "paused"
    assert data(rig, "unpause", "walk")["state"] == "active"
    assert compute(rig, "exec", "walk", "--", "touch", "/root/kept").code == 0
    assert data(rig, "restart", "walk")["state"] == "active"
    assert compute(rig, "exec", "walk", "--", "test", "-e", "/root/kept").code == 0
    assert data(rig, "rekey", "walk")["state"] == "active"
    assert compute_process(rig, "ssh", "walk", "true").code == 0
    before = data(rig, "show", "walk")["expires_at"]
    assert round(data(rig, "extend", "walk", "1m")["expires_at"] - before) == 60
    after = data(rig, "show", "walk")
    assert {"requested", "ready", "paused", "restarted"} <= {e["event"] for e in after["events"]}
    assert "+0.0" in compute(rig, "show", "walk").out
    assert "Accepted publickey" in data(rig, "logs", "walk")["logs"]
    assert data(rig, "down", "walk", "--dry-run") == [{"name": "walk", "state": "would end"}]
    assert data(rig, "down", "walk") == [{"name": "walk", "state": "ended"}]
    over = data(rig, "show", "walk")
    assert (over["state"], over["reason"]) == ("ended", "released")
    assert over["teardown"]["checks"]
    kept = data(rig, "receipts", "walk")
    asked = [receipt["asked"] for receipt in kept]
    assert asked == [
        "Allocate",
        *(f"Lease {each}" for each in ("pause", "unpause", "restart", "exchange_key")),
        *("Lease extend", "Lease release"),
    ]
    assert all(receipt["holds"] for receipt in kept)
    checked = data(rig, "receipt verify", kept[0]["file"])
    assert checked["callee"] == rig.wallet("miner").hotkey.ss58_address


def test_files_and_ports_of_a_lease_are_at_hand(rig, lease, tmp_path):
    """A folder goes in and out unchanged; a port inside answers on this machine."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bytes").write_bytes(bytes(range(256)) * 999)
    data(rig, "cp", str(tmp_path / "in"), f"{lease.name}:/root/there")
    data(rig, "cp", f"{lease.name}:/root/there/bytes", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == bytes(range(256)) * 999
    missing = compute(rig, "cp", f"{lease.name}:/no/such", str(tmp_path), "--json")
    assert "No such file" in missing.json("error")["message"]
    assert compute(rig, "cp", "here", "there").code == Code.USAGE.spec.exit_code
    serve = (
        "cd /root/there && (setsid python3 -m http.server 8000 --bind 127.0.0.1 >/dev/null 2>&1 &)"
    )
    assert compute(rig, "exec", lease.name, serve).code == 0
    forward = subprocess.Popen(
        [*COMMAND, *flags(rig), "--json", "port-forward", lease.name, "0:8000"],
        env=rig.environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        told = Ran(0, forward.stdout.readline(), "").json("port-forward")
        port = told["forwards"][0]["local"]
        assert fetched(port) == (tmp_path / "back").read_bytes()
    finally:
        forward.send_signal(signal.SIGINT)
        assert forward.wait(10) == 130
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", port)) != 0


def fetched(port: int) -> bytes:
    """A file from the server behind a forwarded port, which may still be starting."""
    for _ in range(50):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/bytes", timeout=5) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("nothing is served")


def test_a_lost_answer_is_asked_for_again_by_its_name(rig):
    """`up --resume` opens the lease of a record that was never answered."""
    wish = Wish(60, Requirement(memory_mib=256))
    record = renting(rig, lambda renter, peer: renter.up(peer, wish, name="lost"))
    book = LeaseBook(rig.root / "renter")
    book.save(record.model_copy(update={"credentials": None}))
    assert compute(rig, "ssh", "lost").code == Code.LEASE_UNKNOWN.spec.exit_code
    assert data(rig, "up", "--resume", "lost")["credentials"]["lease_id"] == record.lease_id
    assert data(rig, "down", "lost")[0]["state"] == "ended"


def test_waiting_for_capacity_ends(rig):
    """`up --wait` goes on asking, says so, and ends with the refusal when the time is up."""
    begun = time.monotonic()
    ran = compute(rig, "up", "--memory", "900g", "--ttl", "1m", "--wait", "2s")
    assert ran.code == Code.NO_CAPACITY.spec.exit_code
    assert "asking again for" in ran.err
    assert 2 <= time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
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
    ],
)
def test_mistakes_are_one_line_and_one_envelope(rig, arguments, code):
    """Every mistake has its exit code, one line for people, and the same as data."""
    said = compute(rig, *arguments)
    assert len([line for line in said.err.splitlines() if line.startswith("error: ")]) == 1
    again = compute(rig, "--json", *arguments)
    envelope = again.json("error")
    assert said.code == again.code == envelope["exit_code"]
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


def operate(rig: Rig, verb: str, *arguments: str):
    """An operator's verb on the rig's miner, as data by its schema."""
    ran = run(
        *("--state", str(rig.root / "miner"), "miner", *verb.split(), *arguments, "--json"),
        env={"DOCKER_HOST": rig.docker_host},
    )
    assert ran.code == 0, ran
    return ran.json(f"miner {verb}")


def test_the_operator_sees_the_same_lease(rig, lease):
    """Status counts it, the list shows it, and its timeline is the renter's, trace included."""
    status = operate(rig, "status")
    assert (status["running"], status["live"], status["draining_since"]) == (
        *(True, {"rental": 1}, None),
    )
    assert (status["engine"]["containers"], status["engine"]["orphans"]) == (1, 0)
    (row,) = operate(rig, "leases")
    assert row["id"] == lease.lease_id
    assert row["renter"] == rig.wallet("validator").hotkey.ss58_address
    (one,) = operate(rig, "leases", lease.lease_id[:8])
    seen = data(rig, "show", lease.name)["events"]
    assert [event["event"] for event in one["events"]] == [event["event"] for event in seen]
    assert any(image["current"] for image in operate(rig, "images"))
    text = run("--state", str(rig.root / "miner"), "miner", "status")
    assert "running" in text.out


def test_a_trace_leads_from_the_command_to_the_miner(rig):
    """The id in an error's envelope, or in a lease, is the one in the miner's log and ledger."""
    record = data(rig, "up", "--ttl", "1m", "--memory", "256m", "--name", "traced")
    trace = operate(rig, "leases", record["credentials"]["lease_id"])[0]["trace"]
    assert trace in (rig.root / "miner.log").read_text()
    data(rig, "down", "traced")


def test_a_drained_miner_runs_empty(rig, lease):
    """New rentals are refused while this one runs; it holds until it is switched off."""
    assert not operate(rig, "drain", "--dry-run")["draining"]
    drained = operate(rig, "drain")
    assert (drained["draining"], drained["rentals"]) == (True, 1)
    assert compute(rig, "up", "--miner", "0", "--ttl", "1m").code == Code.BUSY.spec.exit_code
    assert data(rig, "ls") == []
    waited = run("--state", str(rig.root / "miner"), "miner", "drain", "--wait", "1s")
    assert waited.code == Code.BUSY.spec.exit_code
    assert compute(rig, "down", lease.name).code == 0
    assert operate(rig, "drain", "--wait", "10s")["rentals"] == 0
    assert not operate(rig, "drain", "--off")["draining"]
    assert [offer["uid"] for offer in data(rig, "ls")] == [0]


def test_pruning_removes_what_is_named_and_unused(rig, engine_client):
    """Of our own images only, and never the one that leases start from."""
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    changes = ["LABEL io.compute.managed=1"]
    said = engine_client.api.import_image_from_data(
        empty.getvalue(), repository="compute-base", tag="unused-by-test", changes=changes
    )
    made = json.loads(said.splitlines()[-1])["status"]
    listed = {image["id"]: image for image in operate(rig, "images")}
    assert listed[made]["removable"]
    current = next(image for image in listed.values() if image["current"])
    assert not current["removable"]
    refused = run("miner", "prune", current["id"], env={"DOCKER_HOST": rig.docker_host})
    assert refused.code == Code.USAGE.spec.exit_code
    assert operate(rig, "prune", "--dry-run", made)["removed"] == [made]
    assert operate(rig, "prune", made)["removed"] == [made]
    assert made not in {image["id"] for image in operate(rig, "images")}


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
        *(
            "specs",
            "view",
            "capacity",
            "allocate",
            "login",
            "command",
            "gpus",
            "limits",
            "isolation",
        ),
        *("proof", "release", "gone"),
    ]
    bad = rig.neuron(
        "miner_checker", "validator", log="bad", miners="1", private_addresses="true",
        state=str(rig.root / "checker"),
    )  # fmt: skip
    bad.start()
    assert bad.process.wait(60) == Code.PEER_AWAY.spec.exit_code
    rig.neurons.pop("bad")


def test_the_prover_gives_the_vectors_messages_inside_a_lease(rig, lease):
    """The one-file program, in a leased container, answers byte for byte what the vectors say."""
    vector = SESSIONS[1]
    requests = _requests(vector)
    key = LeaseBook(rig.root / "renter").keys(lease.name).ssh.private
    with SshSession(lease.credentials, key) as session:
        session.put(prover_program(), "/root/prover.pyz")
        answers = session.run(
            "python3 -I /root/prover.pyz | base64 -w0", stdin=b"".join(requests.values())
        )
    output = b64decode(answers.stdout)
    for name in requests:
        length = wire.HEADER_BYTES + wire.parse_header(output[: wire.HEADER_BYTES]).length
        answer, output = output[:length], output[length:]
        assert name == "ready" or sha256(answer).hexdigest() == vector["messages"][name]
    assert output == b""
