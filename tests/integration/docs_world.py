"""A subnet as the docs speak of it, on which their commands are run as a reader types them.

The netuid is 27, the wallet is `cold` with the hotkeys `miner` and `validator`, and both neurons
are started by the command lines of their own pages. What cannot be the same is in `REPLACED`.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compute.adapters.chain import make_wallet
from compute.errors import LeaseError
from compute.renter.book import LeaseBook
from compute.testing.rig import ADDRESS, LEASE_PORTS, STOP_S, NeuronProcess, Rig, RigPlan, free_port
from tests.command import ROOT
from tests.documents import blocks
from tests.forked import Programs

PLAN = RigPlan(netuid=27, block_s=0.25, tempo=20)
LIMIT_S = 60
PROGRAMS = {"python": (), "compute": ("-m", "compute.cli.main")}
# Whose machine a command is typed on, and so whose settings are in the environment.
ROLES = (
    (r"python neurons/miner\.py|compute (.* )?(miner|doctor)\b", "miner"),
    (r"python neurons/validator\.py", "validator"),
    (r"compute (.* )?(validator|miners|scores|score|weights)\b", "validator"),
    (r"python neurons/miner_checker\.py", "checker"),
)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class World:
    """The subnet, and for each page a folder and a home of its own."""

    def __init__(self, root: Path, docker_host: str) -> None:
        self.root = root
        self.rig = Rig(root / "rig", docker_host, PLAN)
        self.port = free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        self._programs = Programs(root)
        self._settings: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self.rig.__enter__()
        for hotkey, stake in (("miner", 0.0), ("validator", 10_000.0), ("checker", 10_000.0)):
            self._register(hotkey, stake)
        self.rig.provision.advance(self.rig.plan.tempo + 1)
        self._settings = self._of_roles()
        self._programs.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._running):
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._programs.__exit__()
        self.rig.__exit__(None, None, None)

    def start(self, command: str, log: str) -> subprocess.Popen[bytes]:
        """Start what a page says, and leave it running until the end."""
        page = self.folder("neurons")
        with (self.root / f"{log}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *shlex.split(self.spoken(command, page))[1:]],
                cwd=page,
                env=self._environment(page, command),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def wait_ready(self) -> None:
        """Wait until the miner that was started admits callers and is on chain."""
        arguments = ["--axon.port", str(self.port)]
        self.rig.wait_ready(NeuronProcess("miner", arguments, self.root / "miner.log", {}))

    def said(self, log: str) -> str:
        """What a started program has written."""
        return (self.root / f"{log}.log").read_text(errors="replace")

    def running(self) -> bool:
        """Whether everything that was started still runs."""
        return all(process.poll() is None for process in self._running)

    def run(self, page: Path, command: str) -> Done:
        """Run what a page says in the page's folder, without a terminal."""
        text = self.spoken(command, page)
        env = self._environment(page, text)
        words = shlex.split(text)
        if words[0] not in PROGRAMS or re.search(r"[|<>$;&]", text):
            return self._by_shell(page, text, env)
        out, err = page / "stdout", page / "stderr"
        for stream in (out, err):
            stream.write_text("")
        code = self._programs.run(
            [*PROGRAMS[words[0]], *words[1:]], cwd=page, env=env, out=out, err=err, limit_s=LIMIT_S
        )
        return Done(code, out.read_text(), err.read_text())

    def _by_shell(self, page: Path, text: str, env: dict[str, str]) -> Done:
        programs = "".join(
            f'{name}() {{ {shlex.join([sys.executable, *words])} "$@"; }}; '
            for name, words in PROGRAMS.items()
        )
        done = subprocess.run(
            ["bash", "-c", programs + text],
            cwd=page,
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def folder(self, name: str) -> Path:
        """A page's folder: it looks like a checkout, and what is written there stays there."""
        page = self.root / "pages" / re.sub(r"\W", "-", name)
        if not page.exists():
            page.mkdir(parents=True)
            for entry in ROOT.iterdir():
                if not entry.name.startswith("."):
                    (page / entry.name).symlink_to(entry)
            config = page / "home" / ".config" / "compute"
            config.mkdir(parents=True)
            (config / "config.yaml").write_text(self._config())
        return page

    def spoken(self, command: str, page: Path) -> str:
        """A command with what it names replaced by what is here."""
        for pattern, _, value in REPLACED:
            if re.search(pattern, command):
                command = re.sub(pattern, value(self, page), command)
        return command

    def holds(self, page: Path, name: str) -> bool:
        """Whether a page still has a lease of this name."""
        try:
            return not LeaseBook(page / "state").get(name).ended
        except LeaseError:
            return False

    def lease(self, page: Path) -> str:
        """Beginning of the id of the lease that a page calls `train`."""
        return LeaseBook(page / "state").get("train").lease_id[:12]

    def _register(self, hotkey: str, stake: float) -> None:
        wallet = make_wallet(self.rig.wallets, "cold", hotkey)
        hot, cold = wallet.hotkey.ss58_address, wallet.coldkeypub.ss58_address
        self.rig.provision.fund(cold, 1000.0)
        self.rig.provision.fund(hot, 1000.0)
        self.rig.provision.register(PLAN.netuid, hot, cold, stake=stake)

    def _of_roles(self) -> dict[str, dict[str, str]]:
        """The environment of each role, as an operator has it in a file."""
        first = LEASE_PORTS + os.getpid() % 200 * 100
        common = {
            "NETUID": PLAN.netuid,
            "SUBTENSOR_NETWORK": self.rig.network,
            "WALLET_PATH": self.rig.wallets,
            "WALLET_NAME": "cold",
            "PRIVATE_ADDRESSES": "true",
        }
        miner = {
            "AXON_HOST": ADDRESS,
            "AXON_EXTERNAL_IP": ADDRESS,
            "AXON_PORT": self.port,
            "GATE_LEAST_STAKE": 1,
            "LEASES_BIND_ADDRESS": ADDRESS,
            "LEASES_ADVERTISED_HOST": ADDRESS,
            "LEASES_FIRST_PORT": first,
            "LEASES_LAST_PORT": first + 99,
            "LEASES_LEASES_PER_CPU": 8,
            "LEASES_ON_STOP": "end",
        }
        validator = {
            "VALIDATION_POLICY": "dev",
            "VALIDATION_POLL_S": 0.25,
            "VALIDATION_CADENCE_SPECS": 8,
            "VALIDATION_CADENCE_PROOFS": 40,
            "VALIDATION_CADENCE_PROBES": 10_000,
            "VALIDATION_CADENCE_JITTER": 0,
        }
        roles = {"miner": miner, "validator": validator, "checker": {}}
        return {
            role: {
                f"COMPUTE_{name}": str(value)
                for name, value in (
                    common | {"WALLET_HOTKEY": role, "STATE": self.rig.root / role} | more
                ).items()
            }
            for role, more in roles.items()
        }

    def _config(self) -> str:
        """The settings that docs/renter.md tells a renter to write."""
        (block,) = (b for b in blocks("yaml") if b.page == "docs/renter.md")
        return block.content.replace("finney", self.rig.network)

    def _environment(self, page: Path, command: str) -> dict[str, str]:
        """A renter's, or that of the role whose machine the command is typed on."""
        role = next((role for pattern, role in ROLES if re.match(pattern, command)), "")
        return (
            self.rig.environment()
            | {
                "HOME": str(page / "home"),
                "XDG_CONFIG_HOME": str(page / "home" / ".config"),
                "XDG_STATE_HOME": str(page / "home" / ".local" / "state"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "COMPUTE_STATE": str(page / "state"),
                "COMPUTE_WALLET_PATH": str(self.rig.wallets),
                "COMPUTE_PRIVATE_ADDRESSES": "true",
            }
            | self._settings.get(role, {})
        )


# What a page says, why it cannot be said here, and what is said instead.
REPLACED = (
    (r"\bfinney\b", "the chain is a file", lambda world, _page: world.rig.network),
    (r"\b8091\b", "another miner may have the port", lambda world, _page: str(world.port)),
    (r"^\.venv/bin/python", "tests may run in another environment", lambda *_: "python"),
    (r"^/opt/compute/bin/", "nothing is installed; it is the same command", lambda *_: ""),
    (r" --gpu H100", "there is no such GPU", lambda _world, _page: ""),
    (r"(?<=--miners )12|(?<=explain )12", "the miner's UID is the first", lambda *_: "0"),
    (r"\b0123456789ab\b", "a lease's id", lambda world, page: world.lease(page)),
    (r"/var/lib/compute", "the state of the machine", lambda world, _: str(world.rig.root)),
)
