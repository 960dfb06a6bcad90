"""Measures onboarding: from a clean clone to a miner that was leased from over SSH.

A clone without virtual environment, a container engine of its own without any image, an
installation by `scripts/install-miner` that ends in the doctor's table, a miner on a development
chain, a lease, a login. Nothing is reused but the machine's Debian packages and its mirrors. The
chain and the wallets, which are the rest of the world, are made before the clock runs. Needs root.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compute.adapters.chain import SdkChain
from compute.adapters.engine.private.engine import PrivateEngine
from compute.adapters.ssh.session import SshSession
from compute.domain.requirement import Requirement
from compute.errors import ComputeError
from compute.protocol.dendrite import Dendrite, Peer
from compute.protocol.synapses import LeaseAction
from compute.renter.book import LeaseBook
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.telemetry import logs
from compute.testing.rig import ADDRESS, Rig, RigPlan, free_port
from scripts.bench.proof_rows import Row, print_table

CHECKOUT = Path(__file__).resolve().parents[2]
LEASE_S = 120
READY_S = 120.0
PORTS = 64
AIMS = {"onboarding_s": "< 300"}
# The installer's line of a step: when it began, and its title.
STEP = re.compile(r"^\[\s*([\d.]+) s\] (.*)$", re.MULTILINE)
PARTS = {
    "system packages": "packages_s",
    "the image": "base_image_s",
    "looking at": "doctor_s",
}


class OnboardingError(Exception):
    """A step that did not come to its end."""


@dataclass
class Clock:
    """Seconds since the beginning, and what each part took."""

    begun: float = field(default_factory=time.perf_counter)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begun

    def part(self, name: str, since: float) -> None:
        """Note what a part took; say so, for whoever waits."""
        self.parts[name] = self.now - since
        print(f"[{self.now:6.1f} s] {name} {self.parts[name]:.1f}", file=sys.stderr, flush=True)


def onboard(root: Path, engine: PrivateEngine, rig: Rig) -> Iterator[Row]:
    """Do it once."""
    clock = Clock()
    clone = root / "clone"
    _call("git", "clone", "-q", "--no-hardlinks", str(CHECKOUT), str(clone))
    clock.part("clone_s", 0)
    since = clock.now
    engine.keep()
    clock.part("engine_s", since)
    environment = rig.environment() | {"DOCKER_HOST": engine.docker_host}
    port = free_port()
    _settings(root, rig, port)
    places = {"--prefix": "opt", "--state": "var", "--env-file": "etc/miner.env"}
    flat = [part for flag, name in places.items() for part in (flag, str(root / name))]
    installer = [str(clone / "scripts" / "install-miner"), *flat, "--no-systemd", "--yes"]
    since = clock.now
    said = _call(*installer, environment=environment)
    clock.part("installer_s", since)
    setup = clock.now
    clock.parts |= _parts(said, clock.parts["installer_s"])
    since = clock.now
    with (root / "miner.log").open("wb") as log:
        miner = subprocess.Popen(
            [root / "opt" / "bin" / "compute-miner"], env=environment, stdout=log, stderr=log
        )
        try:
            peer = asyncio.run(_announced(rig, miner))
            _until_ready(port)
            clock.part("miner_ready_s", since)
            since = clock.now
            asyncio.run(_lease(root, rig, peer))
            clock.part("lease_and_login_s", since)
            total = clock.now
        finally:
            miner.terminate()
            miner.wait(20)
    yield Row("onboarding_s", total, "s", 1)
    yield Row("clean_machine_setup_s", setup, "s", 1)
    for name, seconds in clock.parts.items():
        yield Row(name, seconds, "s", 1)


def _settings(root: Path, rig: Rig, port: int) -> None:
    """What an operator would edit: his network, his keys, his address."""
    first = free_port()
    lines = {
        "NETUID": rig.plan.netuid,
        "SUBTENSOR_NETWORK": rig.network,
        "WALLET_PATH": rig.wallets,
        "WALLET_NAME": "miner",
        "AXON_HOST": ADDRESS,
        "AXON_EXTERNAL_IP": ADDRESS,
        "AXON_PORT": port,
        "GATE_LEAST_STAKE": 1,
        "LEASES_BIND_ADDRESS": ADDRESS,
        "LEASES_FIRST_PORT": min(first, 65_535 - PORTS),
        "LEASES_LAST_PORT": min(first, 65_535 - PORTS) + PORTS,
        "LEASES_ON_STOP": "end",
    }
    (root / "etc").mkdir()
    text = "".join(f"COMPUTE_{name}={value}\n" for name, value in lines.items())
    (root / "etc" / "miner.env").write_text(text)


async def _announced(rig: Rig, miner: subprocess.Popen[bytes]) -> Peer:
    """Wait until the chain says where the miner is."""
    until = time.monotonic() + READY_S
    chain = SdkChain(rig.network, rig.plan.netuid, rig.wallet("validator"))
    hotkey = rig.wallet("miner").hotkey.ss58_address
    try:
        while time.monotonic() < until and miner.poll() is None:
            neuron = (await chain.metagraph()).neuron(hotkey)
            if neuron is not None and neuron.axon:
                return peer_of(neuron)
            await asyncio.sleep(0.2)
    finally:
        await chain.close()
    raise OnboardingError(f"the miner ended with {miner.poll()}, or did not announce itself")


def _until_ready(port: int) -> None:
    """Wait until the miner admits callers: it turns them away for two seconds after its start."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        link = http.client.HTTPConnection(ADDRESS, port, timeout=5)
        try:
            link.request("GET", "/readyz")
            if link.getresponse().status == http.HTTPStatus.OK:
                return
        finally:
            link.close()
        time.sleep(0.1)
    raise OnboardingError("the miner did not become ready")


async def _lease(root: Path, rig: Rig, peer: Peer) -> None:
    """Rent from it as a validator does, log in, run a command, give back."""
    async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
        book = LeaseBook(root / "renter")
        renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=rig.plan.netuid)
        record = await renter.up(peer, Wish(LEASE_S, Requirement(memory_mib=256)), name="first")
        keys = book.keys("first")
        said = await asyncio.to_thread(_login, record.credentials, keys.ssh.private)
        await renter.operate(record, LeaseAction.RELEASE)
    if said.strip() != "leased":
        raise OnboardingError(f"the lease said {said!r}")


def _login(credentials: object, private: str) -> str:
    with SshSession(credentials, private) as session:
        return str(session.run("echo leased").stdout)


def _parts(said: str, total: float) -> dict[str, float]:
    """What the installer's steps took, by the times at which they began."""
    steps = [(float(at), title) for at, title in STEP.findall(said)]
    ends = [at for at, _ in steps[1:]] + [total]
    return {
        metric: end - at
        for (at, title), end in zip(steps, ends, strict=True)
        for start, metric in PARTS.items()
        if title.startswith(start)
    }


def _call(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command, passing on what it says; gives its standard error.

    Raises:
        OnboardingError: it did not end with 0.
    """
    said = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr or ():
                sys.stderr.write(line)
                said.append(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise OnboardingError(f"{command[0]} ended with {process.returncode}")
    return "".join(said)


def described() -> dict[str, object]:
    """The machine, as far as it matters here."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="scripts/bench/onboarding", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logs.configure("error", role="bench")
    machine = described()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    with tempfile.TemporaryDirectory(prefix="onboarding-") as folder:
        root = Path(folder)
        engine = PrivateEngine(root / "engine", lambda line: print(line, file=sys.stderr))
        try:
            with Rig(root / "rig", engine.docker_host, RigPlan()) as rig:
                rig.register("miner")
                rig.register("validator", stake=10_000.0)
                rig.provision.advance(rig.plan.tempo + 1)  # type: ignore[union-attr]
                aimed = (
                    Row(**{**asdict(row), "reference": AIMS.get(row.metric, "")})
                    for row in onboard(root, engine, rig)
                )
                rows = list(print_table(aimed))
        finally:
            engine.stop()
    if options.json:
        report = {
            "name": "onboarding",
            "machine": machine,
            "rows": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OnboardingError as error:
        sys.exit(f"error: {error}")
    except ComputeError as error:
        sys.exit(error.diagnostics())
