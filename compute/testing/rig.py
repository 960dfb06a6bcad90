"""A whole subnet on one machine: a chain in a file, wallets, and neurons as real processes.

The demo, the soak and the integration tests stand on it. Everything it makes lies in one folder and
carries one name, so that what is left behind can be counted.
"""

import asyncio
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from compute.adapters.chain import make_wallet, open_wallet
from compute.adapters.chain.devchain.params import ChainParams, SubnetParams
from compute.adapters.chain.devchain.provision import Provision, create
from compute.adapters.chain.devchain.substrate import DevChain
from compute.domain.evidence import Record
from compute.errors import Code, ComputeError
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.storage.ledger import SqlLedger

NEURONS = Path(__file__).resolve().parents[2] / "neurons"
ADDRESS = "127.0.0.2"  # the chain refuses 127.0.0.1
STOP_S = 12.0
LEASE_PORTS = 20_000
# Only for asking whether an axon is up; who calls it in earnest pins its certificate.
_UNCHECKED = ssl._create_unverified_context()  # noqa: S323, SLF001
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class RigPlan:
    """What the subnet is like.

    Attributes:
        block_s: seconds per block.
        tempo: blocks per epoch.
        stake: alpha of each validator.
        settings: extra settings of each role, as dotted flag to value.
    """

    netuid: int = 1
    block_s: float = 0.5
    tempo: int = 10
    stake: float = 10_000.0
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class NeuronProcess:
    """A neuron that runs as a process of its own, with its log in a file."""

    def __init__(self, role: str, arguments: list[str], log: Path, env: Mapping[str, str]) -> None:
        self.role = role
        self.arguments = arguments
        self.log = log
        self._env = dict(env)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, appending to its log."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(NEURONS / f"{self.role}.py"), *self.arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=self._env,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self.process.pid if self.process else 0

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended with anything but 0."""
        return self.process is not None and self.process.poll() not in (None, 0)

    def stop(self, number: int = signal.SIGTERM, limit_s: float = STOP_S) -> tuple[int, float]:
        """Signal it and wait; its exit code and the seconds it took.

        Raises:
            ComputeError: `INTERNAL` when it did not end in time; it is killed then.
        """
        if self.process is None:
            return 0, 0.0
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ComputeError(
                Code.INTERNAL, f"the {self.role} did not stop within {limit_s:.0f} s"
            ) from None
        return code, time.monotonic() - begun

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Rig:
    """A subnet in a folder.

    Args:
        root: an empty folder; what is in it belongs to the rig.
        plan: what the subnet is like.
        docker_host: container engine for the miners.
    """

    def __init__(self, root: Path, docker_host: str, plan: RigPlan | None = None) -> None:
        self.root = root
        self.plan = plan or RigPlan()
        self.docker_host = docker_host
        self.wallets = root / "wallets"
        self.chain_file = root / "chain.sqlite"
        self.neurons: dict[str, NeuronProcess] = {}
        self.provision: Provision | None = None

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        chain = ChainParams(block_s=self.plan.block_s)
        subnet = SubnetParams(tempo=self.plan.tempo, weights_rate_limit=1, serving_rate_limit=0)
        self.provision = create(self.chain_file, chain, {self.plan.netuid: subnet})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def network(self) -> str:
        """Name of the chain for `--subtensor.network`."""
        return f"dev:{self.chain_file}"

    def register(self, name: str, *, stake: float = 0.0) -> int:
        """Make a wallet of this name and register it; its UID."""
        if self.provision is None:
            raise RuntimeError("the rig is not entered")
        wallet = make_wallet(self.wallets, name, "default")
        hotkey, coldkey = wallet.hotkey.ss58_address, wallet.coldkeypub.ss58_address
        self.provision.fund(coldkey, 1000.0)
        self.provision.fund(hotkey, 1000.0)
        return self.provision.register(self.plan.netuid, hotkey, coldkey, stake=stake)

    def wallet(self, name: str) -> Any:
        """The wallet of this name."""
        return open_wallet(self.wallets, name, "default")

    def flags(self, name: str) -> dict[str, str]:
        """Settings that every program on this rig needs."""
        return {
            "netuid": str(self.plan.netuid),
            "subtensor.network": self.network,
            "wallet.path": str(self.wallets),
            "wallet.name": name,
            "state": str(self.root / name),
        }

    def environment(self) -> dict[str, str]:
        """The environment of the rig's processes."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("COMPUTE_")
        }
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        return {**kept, "HOME": str(home), "DOCKER_HOST": self.docker_host}

    def neuron(self, role: str, name: str, /, *, log: str = "", **more: str) -> NeuronProcess:
        """Describe a neuron's process without starting it.

        Args:
            role: miner, validator or miner_checker.
            name: of its wallet; also of its state folder.
            log: name of its log, under which the rig knows it; the wallet's when empty.
            more: settings with `__` for the dots.
        """
        settings = self.flags(name) | {"logging.format": "json"}
        settings |= dict(self.plan.settings.get(role, {}))
        settings |= {key.replace("__", "."): value for key, value in more.items()}
        arguments = [part for key, value in settings.items() for part in (f"--{key}", value)]
        known_as = log or name
        process = NeuronProcess(role, arguments, self.root / f"{known_as}.log", self.environment())
        self.neurons[known_as] = process
        return process

    def start_miner(self, name: str = "miner", **more: str) -> NeuronProcess:
        """Start a miner on a free port of this machine."""
        first = LEASE_PORTS + os.getpid() % 200 * 100  # so that rigs side by side do not meet
        miner = self.neuron(
            "miner",
            name,
            **{
                "axon__host": ADDRESS,
                "axon__external_ip": ADDRESS,
                "axon__port": str(free_port()),
                "leases__bind_address": ADDRESS,
                "leases__advertised_host": ADDRESS,
                "leases__first_port": str(first),
                "leases__last_port": str(first + 99),
                "gate__least_stake": "1",
                **more,
            },
        )
        miner.start()
        return miner

    def start_validator(self, name: str = "validator", **more: str) -> NeuronProcess:
        """Start a validator that pays for the development class."""
        validator = self.neuron(
            "validator", name, **{"private_addresses": "true", "validation__policy": "dev", **more}
        )
        validator.start()
        return validator

    def wait(
        self, what: str, look: Callable[[], ResultT | None], limit_s: float, every_s: float = 0.2
    ) -> ResultT:
        """Look until there is something to see.

        Raises:
            ComputeError: `INTERNAL`, with the neurons' last words, when a neuron ends or the time
                is up.
        """
        until = time.monotonic() + limit_s
        while True:
            found = look()
            if found:
                return found
            ended = [n for n in self.neurons.values() if n.process is not None and n.failed]
            if ended:
                words = ended[0].tail(4)
                raise ComputeError(
                    Code.INTERNAL, f"the {ended[0].role} ended while waiting for {what}: {words}"
                )
            if time.monotonic() > until:
                words = "\n".join(f"[{n.role}] {n.tail(6)}" for n in self.neurons.values())
                raise ComputeError(
                    Code.INTERNAL, f"no {what} within {limit_s:.0f} s; last words:\n{words}"
                )
            time.sleep(every_s)

    def wait_ready(self, miner: NeuronProcess, limit_s: float = 60.0) -> None:
        """Wait until a miner's axon admits callers and the chain says where it is.

        Raises:
            ComputeError: `INTERNAL` when it does not come to that in time.
        """
        port = miner.arguments[miner.arguments.index("--axon.port") + 1]
        over_tls = "--axon.certificate" in miner.arguments

        def look() -> bool:
            link = (
                http.client.HTTPSConnection(ADDRESS, int(port), timeout=2, context=_UNCHECKED)
                if over_tls
                else http.client.HTTPConnection(ADDRESS, int(port), timeout=2)
            )
            try:
                link.request("GET", "/readyz")
                return link.getresponse().status == http.HTTPStatus.OK
            except OSError:
                return False
            finally:
                link.close()

        self.wait("ready miner", look, limit_s)
        self.wait("announcement", lambda: self._announces(int(port)), limit_s)

    def _announces(self, port: int) -> bool:
        async def read() -> list[tuple[Any, Any]]:
            chain = DevChain(self.chain_file, time.time)
            try:
                return await chain.query_map("SubtensorModule", "Axons", [self.plan.netuid])
            finally:
                await chain.close()

        return any(axon["port"] == port for _, axon in asyncio.run(read()))

    def weights(self) -> dict[int, dict[int, float]]:
        """Weights on chain: validator UID to miner UID to share of its row."""

        async def read() -> list[tuple[Any, Any]]:
            chain = DevChain(self.chain_file, time.time)
            try:
                return await chain.query_map("SubtensorModule", "Weights", [self.plan.netuid])
            finally:
                await chain.close()

        rows = {int(uid): dict(row) for uid, row in asyncio.run(read())}
        return {
            uid: {int(target): value / sum(row.values()) for target, value in row.items()}
            for uid, row in rows.items()
            if sum(row.values())
        }

    def owner(self, name: str = "miner") -> str:
        """The label by which a miner's objects in the engine are known; empty before its start."""
        database = self.root / name / "miner.sqlite"
        if not database.exists():
            return ""
        engine = open_database(f"sqlite:///{database}", Role.MINER)
        try:
            return SqlLedger(engine, time.time).owner
        finally:
            engine.dispose()

    def evidence(self, name: str = "validator") -> list[Record]:
        """What a validator has recorded, oldest first."""
        database = self.root / name / "validator.sqlite"
        if not database.exists():
            return []
        engine = open_database(f"sqlite:///{database}", Role.VALIDATOR)
        try:
            return list(EvidenceLog(engine, self.wallet(name).hotkey, self.plan.netuid).records())
        finally:
            engine.dispose()

    def stop(self) -> None:
        """Stop every neuron that still runs, validators first."""
        for neuron in reversed(list(self.neurons.values())):
            if neuron.running:
                neuron.stop()


def free_port(host: str = ADDRESS) -> int:
    """A TCP port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
