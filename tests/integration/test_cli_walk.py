"""A walk through every verb of `compute`, typed in real terminals on a subnet that runs."""

import json
import re
import shlex
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pexpect
import pytest
from rich.cells import cell_len

from compute.cli.page import page
from compute.cli.schemas import names
from compute.errors import Code
from compute.renter.book import LeaseBook
from compute.testing.rig import Rig, RigPlan, free_port
from tests.command import COMMAND, ROOT, Ran, run
from tests.integration.cli_terminal import COLOUR, Seen, Terminal, shim, until

pytestmark = pytest.mark.engine
VERBS = set(re.findall(r"^### compute (.+)$", page(), re.MULTILINE))
NARROW, USUAL, WIDE = 60, 80, 160
# What changes how a terminal is written to, or what a shell shows there.
MEDDLING = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PROMPT_COMMAND", "COMPUTE_DEBUG"}
VALIDATOR = {
    "validation__cadence__specs": "10",
    "validation__cadence__proofs": "60",
    "validation__cadence__probes": "4000",
    "validation__cadence__offers": "2",
    "validation__poll_s": "0.25",
}
# What is shown of a table in every width.
TABLES = {
    "ls": "5", "quote --ttl 1m --disk 1g": "available", "ps": "train", "show train": "ready",
    "receipts": "Allocate", "config get": "wallet.name", "explain": "no_capacity",
    "doctor --part renter --check chain": "chain",
}  # fmt: skip
MINER_TABLES = {
    "miner status": "running", "miner leases": "active", "miner images": "new leases",
}  # fmt: skip
VALIDATOR_TABLES = {
    "validator status": "specs outcomes", "miners": "cpu-dev", "scores": "100.00%",
    "score explain 0": "capacity", "weights show": "65535", "validator tenant list": "lab",
    "validator penalties": "a trial",
}  # fmt: skip


class Walk:
    """A subnet, the terminals in which it is walked through, and everything that was seen there."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig = rig
        self.folder = folder
        self.seen: list[Seen] = []
        self.port = free_port("127.0.0.1")
        miner = rig.start_miner(leases__leases_per_cpu="8")
        rig.start_validator(renting="true", api_port=str(self.port), **VALIDATOR)
        flags = rig.flags("validator") | {"state": str(rig.root / "renter")}
        flags |= {"private.addresses": "true"}
        named = {"COMPUTE_" + name.replace(".", "_").upper(): flags[name] for name in flags}
        path = f"{shim(folder / 'bin')}:{rig.environment()['PATH']}"
        here = {"XDG_CONFIG_HOME": str(folder / "config"), "TERM": "xterm-256color", "PATH": path}
        clean = {k: v for k, v in rig.environment().items() if k not in MEDDLING}
        self.env = clean | named | here | {"PYTHONPATH": str(ROOT)}
        self.terminals: list[Terminal] = []
        rig.wait_ready(miner)
        self._pool = ThreadPoolExecutor(4)
        # Each part waits for what it needs of the others.
        self.used = self._pool.submit(self._use)
        self.tables = self._pool.submit(self._tables)
        self.renter = self._pool.submit(self._end)
        self.validator = self._pool.submit(self._validator)

    def close(self) -> None:
        """Hang up every terminal, with which the walks in them end, and end what was leased."""
        for terminal in self.terminals:
            terminal.close()
        self._pool.shutdown()
        left = [record.name for record in self.book.all() if not record.ended]
        if left:
            run("down", *left, env=self.env)
        (self.folder / "walk.txt").write_text("\n".join(map(str, self.seen)))

    @property
    def book(self) -> LeaseBook:
        """The renter's lease book."""
        return LeaseBook(self.rig.root / "renter")

    def at(self, role: str) -> str:
        """What is typed to look at another state folder than the renter's."""
        return f"compute --state {self.rig.root / role}"

    def shell(self) -> Terminal:
        """A terminal with a shell."""
        self.terminals.append(Terminal.bash(self.env, self.seen))
        return self.terminals[-1]

    def quick(self) -> Terminal:
        """A terminal for verbs alone."""
        self.terminals.append(Terminal.quick(self.env, self.seen))
        return self.terminals[-1]

    def _use(self) -> None:
        shell = self.shell()
        progress = self.folder / "progress"
        shell.type(f"compute up --ttl 1m --disk 1g --dry-run 2>{progress}")
        assert progress.read_text() == "asking the miners of subnet 1\n"
        up = shell.type("compute up --ttl 10m --memory 300m --disk 1g --name train")
        assert "log in with: compute ssh train" in up.text
        _use(self, shell)

    def _tables(self) -> None:
        """Every table in three widths, then every operation."""
        quick = self.quick()
        _settle(self, quick)
        until(lambda: self.book.folder("train").exists() and self.book.get("train").credentials)
        _complete(self)
        for verb, shown in TABLES.items():
            _in_all_widths(quick, f"compute {verb}", shown)
        for verb, shown in MINER_TABLES.items():
            _in_all_widths(quick, f"{self.at('miner')} {verb}", shown)
        for line in ("miner drain --dry-run", "miner prune --dry-run"):
            quick.type(f"{self.at('miner')} {line}")
        ended(self.used)
        _operate(quick)
        _check(self, quick)

    def _end(self) -> None:
        ended(self.tables)
        shell = self.shell()
        ask = r"End train, and destroy what is on disk\? \[y/N\]:"
        shell.type("compute down train", code=130, during=[(ask, "n\r")])
        piped = shell.type("compute ps | cat")
        assert "up" in piped.text
        assert "\x1b" not in piped.raw
        assert "train: ended" in shell.type("compute down train", during=[(ask, "y\r")]).text

    def _validator(self) -> None:
        quick, at = self.quick(), self.at("validator")
        _tenants(self, quick)
        self.rig.wait("a paid miner", lambda: self.rig.weights() or None, 60)
        quick.type(f"{at} validator penalise 0 --reason 'a trial' --factor 0.9 --dry-run")
        quick.type(f"{at} validator penalise 0 --reason 'a trial' --factor 0.9")
        for verb, shown in VALIDATOR_TABLES.items():
            _in_all_widths(quick, f"{at} {verb}", shown)
        quick.type(f"{at} scores --plot 0")
        bare = self.shell().type(f"NO_COLOR=1 {at} scores")
        assert COLOUR.search(quick.type(f"{at} scores").raw)
        assert not COLOUR.search(bare.raw)
        (penalty,) = json.loads(quick.type(f"{at} validator penalties --json").text)
        assert "no longer" in quick.type(f"{at} validator pardon {penalty['penalty']}").text
        quick.type(f"{at} validator export {self.folder / 'evidence.jsonl'}")
        _in_all_widths(quick, f"compute weights replay {self.rig.root / 'validator'}", "the same")


def ended(part: Future) -> None:
    """Wait for a part of the walk; what failed in it fails here."""
    part.result(120)


def _in_all_widths(terminal: Terminal, line: str, shown: str) -> None:
    """A table says the same in every width, and is never wider; only a word may be."""
    for columns in (NARROW, USUAL, WIDE):
        seen = terminal.type(line, columns=columns)
        assert shown in seen.text, seen
        wide = [each for each in seen.lines if cell_len(each) > columns and " " in each.strip()]
        assert not wide, seen


def _complete(walk: Walk) -> None:
    """In a shell that edits lines, Tab finishes the names of verbs and of live leases."""
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], env={**walk.env, "TERM": "dumb"}, cwd=str(ROOT),
        timeout=20, encoding="utf-8", dimensions=(24, 200),
    )  # fmt: skip
    try:
        shell.sendline("source <(compute completion bash); echo rea''dy")
        shell.expect("ready")
        shell.send("compute unp\t")
        shell.expect("compute unpause ")
        shell.send("tr\t")
        shell.expect("train ")
    finally:
        shell.close(force=True)


def _use(walk: Walk, shell: Terminal) -> None:
    """Everything that reaches into a lease."""
    shell.type("compute exec train -- sh -c 'exit 7'", code=7)
    shell.type("set -o pipefail")
    assert shell.type("compute exec train yes | head -1").text == "y\n"
    shell.type("compute ssh train", during=[(r"# $", "echo $((6*7))\r"), (r"42\s", "exit\r")])
    here, back = walk.folder / "bytes", walk.folder / "back"
    here.write_bytes(bytes(range(256)) * 999)
    shell.type(f"compute cp {here} train:there")
    shell.type(f"compute cp train:there {back}")
    assert back.read_bytes() == here.read_bytes()
    shell.type("compute port-forward train 0:22", code=130, during=_through)
    shell.type("compute logs train")
    shell.type("compute logs --follow train", code=130, during=[("Accepted publickey", "\x03")])
    include = walk.book.include
    assert "root" in shell.type(f"ssh -F {include} train id -un").text
    shell.type(f"scp -q -F {include} train:there {back}.2")
    assert Path(f"{back}.2").read_bytes() == here.read_bytes()


def _through(child) -> None:
    """Reach the lease's own sshd by a forwarded port, then interrupt."""
    child.expect(r"127\.0\.0\.1:(\d+) is train:22")
    with socket.create_connection(("127.0.0.1", int(child.match.group(1))), 10) as link:
        assert link.recv(8).startswith(b"SSH-2.0-")
    child.sendintr()


def _operate(quick: Terminal) -> None:
    """Every operation on a lease."""
    for line, said in {
        "pause train": "train is paused", "unpause train": "train is active",
        "restart train": "train is active", "rekey train": "train now takes SHA256:",
        "extend train 1m": "left",
    }.items():  # fmt: skip
        assert said in quick.type(f"compute {line}").text


def _check(walk: Walk, quick: Terminal) -> None:
    """What others have proven and signed."""
    kept = walk.folder / "proof.mgx"
    assert "proven: " in quick.type(f"compute verify train --transcript {kept}").text
    quick.type(f"compute transcript verify {kept}")
    receipt = walk.book.receipts("train")[0]
    assert "answered Allocate with 200" in quick.type(f"compute receipt verify {receipt}").text


def _settle(walk: Walk, quick: Terminal) -> None:
    """What concerns this machine alone."""
    quick.type("compute version")
    file = quick.type("compute config path").text.strip()
    assert file == str(walk.folder / "config" / "compute" / "config.yaml")
    quick.type("compute config set logging.level debug")
    assert quick.type("compute config get logging.level").text == "debug\n"
    quick.type("compute config unset logging.level")
    quick.type("compute schema ls")
    quick.type("compute completion bash")
    said = quick.type("compute calibrate --device numpy --n 64 --blocks 2 --runs 1 --json").text
    assert Ran(0, said, "").json("calibrate")["tops"] > 0
    quick.type("compute --help")
    quick.type("compute shoe", code=Code.USAGE.spec.exit_code)


def _tenants(walk: Walk, quick: Terminal) -> None:
    """Let in, look, give another token, shut out: the running validator knows at once."""
    at = f"{walk.at('validator')} validator tenant"
    until((walk.rig.root / "validator" / "validator.sqlite").exists)
    first = quick.type(f"{at} add lab").lines[-1]
    until(lambda: _answers(walk.port))
    assert _admits(walk.port, first)
    ask = r"will open nothing\. \[y/N\]:"
    second = quick.type(f"{at} rotate lab", during=[(ask, "y\r")]).lines[-1]
    assert (_admits(walk.port, first), _admits(walk.port, second)) == (False, True)
    quick.type(f"{at} add shop")
    third = quick.type(f"{at} rotate shop --yes").lines[-1]
    quick.type(f"{at} remove shop", during=[(r"Shut shop out\? \[y/N\]:", "y\r")])
    assert not _admits(walk.port, third)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _admits(port: int, token: str) -> bool:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/leases", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return answer.status == 200
    except urllib.error.HTTPError as refusal:
        if refusal.code != 401:
            raise
        return False


@pytest.fixture(scope="module")
def walk(tmp_path_factory, docker_host, base_image):
    folder = tmp_path_factory.mktemp("walk")
    with Rig(folder / "r", docker_host, RigPlan(block_s=0.25)) as rig:
        rig.register("miner")
        rig.register("validator", stake=10_000.0)
        rig.provision.advance(rig.plan.tempo + 1)
        made = Walk(rig, folder)
        yield made
        made.close()


class Piped:
    """The command without a terminal, in this process; what it prints as data is checked."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.env = {name: value for name, value in walk.env.items() if name.startswith("COMPUTE_")}
        self.env |= {
            "XDG_CONFIG_HOME": str(walk.folder / "piped"),
            "DOCKER_HOST": walk.rig.docker_host,
        }
        self.shapes: set[str] = set()

    def run(self, *arguments: str) -> Ran:
        """Run a verb."""
        return run(*arguments, env=self.env)

    def data(self, shape: str, *arguments: str, role: str = "", code: int = 0):
        """What a verb prints with --json, by the schema that is published for it."""
        at = ["--state", str(self.walk.rig.root / role)] if role else []
        ran = self.run(*at, *shape.split(), *arguments, "--json")
        assert (ran.code, ran.err) == (code, ""), ran
        self.shapes.add(shape)
        return ran.json(shape)


@pytest.fixture(scope="module")
def piped(walk):
    return Piped(walk)


def test_refusals_are_one_envelope_without_a_terminal(piped):
    """Each class of refusal ends with its exit code, says it once, and asks nothing."""
    for code, *arguments in (
        (Code.LEASE_UNKNOWN, "show", "nobody"),
        (Code.LEASE_UNKNOWN, "down", "nobody"),
        (Code.USAGE, "ps", "--bogus"),
        (Code.USAGE, "up", "--miner", "99", "--ttl", "1m"),
        (Code.NO_CAPACITY, "up", "--miner", "0", "--ttl", "1m", "--gpu", "H100"),
        (Code.PEER_AWAY, "quote", "--miner", "1"),
        (Code.CHAIN_AWAY, "--network", "ws://127.0.0.1:9", "ls"),
        (Code.WALLET_MISSING, "--wallet", "nobody", "ls"),
        (Code.USAGE, "--state", "/nowhere", "scores"),
        (Code.USAGE, "--state", "/nowhere", "miner", "leases"),
    ):
        ran = piped.run("--json", *arguments)
        told = ran.json("error")
        assert (told["code"], ran.code) == (code.spec.slug, code.spec.exit_code), ran
        assert told["exit_code"] == ran.code
        assert ran.err == ""
        assert told["hint"]


def test_every_verb_prints_data_by_its_schema(piped, walk, tmp_path):
    """All that has a published schema, on what runs: no question is asked where nobody sits."""
    _rent_as_data(piped, tmp_path)
    _here_as_data(piped)
    ended(walk.validator)
    _validate_as_data(piped, tmp_path)
    assert piped.shapes | {"calibrate"} == set(names()) - {"error"}  # that one in a terminal


def _rent_as_data(piped: Piped, folder: Path) -> None:
    data, small = piped.data, ("--ttl", "5m", "--memory", "256m", "--disk", "1g")
    assert data("ls")[0]["fits"]
    assert data("quote", *small)[0]["available"]
    ran = piped.run("up", "--dry-run", *small, "--json")
    assert ran.json("up --dry-run")[0]["available"]
    piped.shapes.add("up --dry-run")
    assert data("up", *small, "--name", "piped")["name"] == "piped"
    assert "piped" in {row["name"] for row in data("ps")}
    assert data("exec", "piped", "exit 3", code=3)["exit_code"] == 3
    (folder / "file").write_text("content")
    data("cp", str(folder / "file"), "piped:there")
    transcript = str(folder / "proof.mgx")
    assert data("verify", "piped", "--transcript", transcript)["passed"]
    assert data("transcript verify", transcript)["passed"]
    for verb, state in {"pause": "paused", "unpause": "active", "restart": "active"}.items():
        assert data(verb, "piped")["state"] == state
    data("rekey", "piped")
    data("extend", "piped", "1m")
    data("logs", "piped")
    assert {"ready", "paused", "extended"} <= {e["event"] for e in data("show", "piped")["events"]}
    kept = data("receipts", "piped")
    assert data("receipt verify", kept[0]["file"])["holds"]
    _forward_as_data(piped)
    _through_a_command(piped)
    assert data("down", "piped", "--dry-run") == [{"name": "piped", "state": "would end"}]
    assert data("show", "piped")["state"] == "active"
    assert data("down", "piped") == [{"name": "piped", "state": "ended"}]


def _forward_as_data(piped: Piped) -> None:
    command = [*COMMAND, "--json", "port-forward", "piped", "0:22"]
    with subprocess.Popen(
        command, cwd=ROOT, env=piped.walk.env, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            told = Ran(0, run.stdout.readline(), "").json("port-forward")
            piped.shapes.add("port-forward")
            with socket.create_connection(("127.0.0.1", told["forwards"][0]["local"]), 10) as link:
                assert link.recv(4) == b"SSH-"
        finally:
            run.send_signal(signal.SIGINT)
    assert run.returncode == 130


def _through_a_command(piped: Piped) -> None:
    """What a command inside writes comes as it is written, and bytes go through it unchanged."""
    content = bytes(range(256)) * 16_384  # more than the window of an SSH channel
    with subprocess.Popen(
        [*COMMAND, "exec", "piped", "--", "sh", "-c", "echo ready; cat"],
        cwd=ROOT, env=piped.walk.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout.readline() == b"ready\n"
        out, _ = running.communicate(content, timeout=60)
    assert (running.returncode, out == content) == (0, True)


def _here_as_data(piped: Piped) -> None:
    data = piped.data
    assert data("version")["compute"]
    assert data("explain", "42")[0]["code"] == "image_missing"
    assert not data("config path")["exists"]
    assert data("config set", "netuid", "7")["value"] == "1"  # the environment overrules the file
    assert data("config unset", "netuid")["source"] == "environment"
    assert {"netuid", "state"} <= {setting["name"] for setting in data("config get")}
    assert data("doctor", "--part", "renter", "--check", "chain")["checks"]
    assert data("miner status", role="miner")["running"]
    assert data("miner leases", role="miner")
    images = data("miner images", role="miner")
    data("miner prune", "--dry-run", role="miner")
    assert {row["id"] for row in images} <= {r["id"] for r in data("miner images", role="miner")}
    assert not data("miner drain", "--dry-run", role="miner")["draining"]


def _validate_as_data(piped: Piped, folder: Path) -> None:
    def data(shape: str, *arguments: str):
        return piped.data(shape, *arguments, role="validator")

    assert data("validator status")["paid"] == 1
    assert data("miners")[0]["proven"]
    assert data("scores")[0]["share"] == 1
    assert data("score explain", "0")["miner"]["uid"] == 0
    assert data("weights show")["shares"] == {"0": 1.0}
    exported = str(folder / "evidence.jsonl")
    data("validator export", exported)
    assert all(each["same"] for each in data("weights replay", exported))
    counting = data("validator penalties")
    assert data("validator penalise", "0", "--reason", "try", "--dry-run")["penalty"] == ""
    assert data("validator penalties") == counting
    penalty = data("validator penalise", "0", "--reason", "try", "--factor", "0.99")["penalty"]
    assert data("validator pardon", penalty)["penalty"] == penalty
    tenants = data("validator tenant list")
    assert data("validator tenant add", "data", "--dry-run")["token"] == ""
    assert data("validator tenant list") == tenants
    first = data("validator tenant add", "data")["token"]
    second = data("validator tenant rotate", "data")["token"]
    data("validator tenant remove", "data")
    assert not any(_admits(piped.walk.port, token) for token in (first, second))


def test_a_renter_walks_in_a_terminal(walk):
    """From the offers to the end: shell, ports, files, log, keys, proof, receipts, the question."""
    ended(walk.used)
    ended(walk.renter)


def test_a_validators_operator_walks_in_a_terminal(walk):
    """Tenants, penalties, scores and weights of a validator that runs meanwhile."""
    ended(walk.validator)


def test_tables_are_read_in_every_width(walk):
    """Each verb with a table says the same in narrow, usual and wide terminals."""
    ended(walk.tables)


def test_every_verb_was_typed(walk):
    """A verb that is new has to be walked through too; nothing that was shown is a traceback."""
    for part in (walk.used, walk.tables, walk.renter, walk.validator):
        ended(part)
    assert {verb_of(seen.line) for seen in walk.seen} & VERBS == VERBS
    assert not [seen for seen in walk.seen if "Traceback" in seen.text]


def verb_of(line: str) -> str:
    """The verb in a line as it was typed."""
    words = shlex.split(line.partition("compute")[2])
    while words and words[0].startswith("--"):
        words = words[2:]
    lengths = range(min(3, len(words)), 0, -1)
    return next((" ".join(words[:n]) for n in lengths if " ".join(words[:n]) in VERBS), "")
