"""The demo: a miner, a validator and a renter on this machine, from nothing to a paid miner.

`./scripts/demo` prepares the machine and runs this. Every figure in the closing table was measured
in this run; the exit code is 0 only when all of it came out right.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import docker

from compute.adapters.chain import SdkChain
from compute.adapters.ssh.session import SshSession
from compute.cli.output import Output, table
from compute.domain.evidence import EvidenceKind, Outcome, Record
from compute.domain.measurement import ProofContent
from compute.domain.metagraph import Metagraph, Neuron
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError
from compute.protocol.dendrite import Dendrite
from compute.protocol.synapses import SPECS, LeaseAction, LeaseReply, SpecsRequest
from compute.renter.book import LeaseBook, LeaseRecord
from compute.renter.client import Renter, Wish
from compute.renter.session import peer_of
from compute.testing.leftovers import Leftovers, count_leftovers
from compute.testing.rig import Rig, RigPlan

LEASE_S = 20
LATE_S = 5.0  # later than this after its deadline, a lease did not end on time
COMMAND = "hostname; nproc; python3 -c 'import numpy; print(numpy.arange(8) @ numpy.arange(8))'"
PLAN = RigPlan(
    block_s=0.5,
    tempo=10,
    settings={
        "validator": {
            "validation.cadence.specs": "6",
            "validation.cadence.proofs": "20",
            "validation.cadence.probes": "200",
            "validation.cadence.jitter": "0",
            "validation.poll_s": "0.25",
        }
    },
)
ResultT = TypeVar("ResultT")


@dataclass
class Findings:
    """What the demo has seen; the names are those of the JSON file."""

    chain: dict[str, Any] = field(default_factory=dict)
    miner: dict[str, Any] = field(default_factory=dict)
    validator: dict[str, Any] = field(default_factory=dict)
    specs: dict[str, Any] = field(default_factory=dict)
    challenge: dict[str, Any] = field(default_factory=dict)
    lease: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    incentive: float = 0.0
    leftovers: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Demo:
    """Runs the demo on a rig.

    Args:
        rig: entered already.
        say: told each line of progress.
    """

    def __init__(self, rig: Rig, say: Callable[[str], None]) -> None:
        self.rig = rig
        self.found = Findings()
        self._say = say
        self._begun = time.monotonic()
        self._uid = -1

    def step(self, text: str) -> None:
        """Say what happens now, with the time since the start."""
        self._say(f"[{time.monotonic() - self._begun:6.1f} s] {text}")

    def run(self) -> None:
        """All of it, in order; raises `ComputeError` at the first thing that is not so."""
        self.start()
        self.see_specs()
        lease = self.rent()
        self.see_proof()
        self.see_payment()
        self.probe()
        self.see_end(lease)

    # --- the subnet ---

    def start(self) -> None:
        """Register both neurons and start them."""
        rig = self.rig
        self.step("making a chain with one subnet, and wallets for a miner and a validator")
        self._uid = rig.register("miner")
        validator_uid = rig.register("validator", stake=rig.plan.stake)
        if rig.provision is not None:  # a permit is given at an epoch's end
            rig.provision.advance(rig.plan.tempo + 1)
        self.found.chain = {
            "network": "dev", "netuid": rig.plan.netuid, "block_s": rig.plan.block_s,
            "tempo": rig.plan.tempo,
        }  # fmt: skip
        self.step("starting neurons/miner.py and neurons/validator.py")
        miner, validator = rig.start_miner(), rig.start_validator()
        rig.wait_ready(miner)
        neuron = self._neuron()
        self.found.miner = {
            "uid": self._uid, "hotkey": neuron.hotkey, "axon": neuron.axon, "pid": miner.pid,
        }  # fmt: skip
        hotkey = rig.wallet("validator").hotkey.ss58_address
        self.found.validator = {"uid": validator_uid, "hotkey": hotkey, "pid": validator.pid}
        self.step(f"the miner (UID {self._uid}) announces {neuron.axon}")

    def _metagraph(self) -> Metagraph:
        async def read() -> Metagraph:
            chain = SdkChain(self.rig.network, self.rig.plan.netuid, self.rig.wallet("validator"))
            try:
                return await chain.metagraph()
            finally:
                await chain.close()

        return asyncio.run(read())

    def _neuron(self) -> Neuron:
        return self._metagraph().neurons[self._uid]

    # --- what the validator finds ---

    def see_specs(self) -> None:
        """Ask the miner for its specs, as the validator does."""
        peer = peer_of(self._neuron())

        async def ask(_renter: Renter, dendrite: Dendrite) -> Any:
            return (await dendrite.call(peer, SPECS, SpecsRequest())).reply

        reply = self._as_renter(ask)
        host = reply.hosts[0]
        self.found.specs = {
            "cpus": host.cpus,
            "memory_mib": host.memory_mib,
            "gpus": [gpu.model for gpu in host.gpus],
            "image": reply.default_image,
            "free": reply.free.model_dump(),
        }
        self.step(f"specs: {host.cpus} CPUs, {host.memory_mib} MiB, {len(host.gpus)} GPUs")

    def _evidence(self, kind: EvidenceKind) -> Record | None:
        miner = self.rig.wallet("miner").hotkey.ss58_address
        records = self.rig.evidence()
        return next((r for r in reversed(records) if r.kind is kind and r.miner == miner), None)

    def see_proof(self) -> None:
        """Wait until the validator has proven the miner's hardware."""
        self.step("waiting until the validator has proven the hardware")
        record = self.rig.wait("proof", lambda: self._evidence(EvidenceKind.PROOF), 60)
        passed = record.outcome is Outcome.PASSED
        self.found.challenge = {"passed": passed, **_figures(record)}
        if not passed:
            raise ComputeError(Code.PROOF_FAILED, f"{record.reason}: {record.detail}")
        self.step(f"proven: {self.found.challenge['tops']:.4f} TOPS")

    def see_payment(self) -> None:
        """Wait until weights are on chain and an epoch has turned them into incentive."""
        self.step("waiting for weights, and for an epoch to turn them into incentive")
        neuron = self.rig.wait(
            "incentive", lambda: n if (n := self._neuron()).incentive > 0 else None, 60
        )
        row = self.rig.weights().get(self.found.validator["uid"], {})
        self.found.weights = {str(uid): share for uid, share in row.items()}
        self.found.incentive = neuron.incentive
        self.step(f"the miner's incentive is {neuron.incentive:.4f}")

    # --- what a renter does ---

    def _as_renter(self, work: Callable[[Renter, Dendrite], Any]) -> Any:
        async def whole() -> Any:
            wallet = self.rig.wallet("validator")
            async with Dendrite(wallet, allow_private=True) as dendrite:
                book = LeaseBook(self.rig.root / "renter")
                renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=self.rig.plan.netuid)
                return await work(renter, dendrite)

        return asyncio.run(whole())

    def rent(self) -> LeaseRecord:
        """Rent a container, log in and run a command."""
        peer = peer_of(self._neuron())
        wish = Wish(LEASE_S, Requirement(cpus=1, memory_mib=512))
        self.step(f"renting a container for {LEASE_S} s through the validator's hotkey")
        begun = time.monotonic()
        record: LeaseRecord = self._as_renter(lambda renter, _: renter.up(peer, wish, name="demo"))
        allocated = time.monotonic()
        if record.credentials is None:
            raise ComputeError(Code.CREDENTIALS)
        keys = LeaseBook(self.rig.root / "renter").keys("demo")
        with SshSession(record.credentials, keys.ssh.private) as session:
            result = session.run(COMMAND)
        done = time.monotonic()
        if result.exit_code != 0:
            raise ComputeError(Code.PROBE_COMMAND, result.stderr[:200])
        self.found.lease = {
            "id": record.lease_id,
            "allocate_s": round(allocated - begun, 3),
            "ssh_s": round(done - allocated, 3),
            "command_output": result.stdout.strip(),
            "verified": self._verify(record),
        }
        self.step(f"logged in; the command said {result.stdout.split()}")
        return record

    def _verify(self, record: LeaseRecord) -> str:
        """The renter proves his own container."""
        arguments = ["--json", "verify", record.name]
        answer = self._compute("renter", *arguments)
        self.step(f"the renter proved his own container: {answer['summary']}")
        return str(answer["summary"])

    def _compute(self, state: str, *arguments: str) -> Any:
        """Run the `compute` command as a person would, for its JSON."""
        flags = self.rig.flags("validator") | {"state": str(self.rig.root / state)}
        named = {
            "network": flags["subtensor.network"], "netuid": flags["netuid"],
            "wallet": flags["wallet.name"], "wallet-path": flags["wallet.path"],
            "state": flags["state"],
        }  # fmt: skip
        command = [sys.executable, "-m", "compute.cli.main"]
        command += [part for name, value in named.items() for part in (f"--{name}", value)]
        environment = self.rig.environment() | {"COMPUTE_PRIVATE_ADDRESSES": "true"}
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ComputeError(
                Code.PROBE_FAILED, f"compute {arguments[-2]} ended with {done.returncode}: "
                f"{(done.stdout or done.stderr).strip()[-300:]}"
            )  # fmt: skip
        return json.loads(done.stdout)

    def probe(self) -> None:
        """Run the health probe as a process of its own."""
        self.step("probing the miner with neurons/miner_checker.py")
        report = self.rig.root / "probe.json"
        checker = self.rig.neuron(
            "miner_checker",
            "validator",
            log="checker",
            miners=str(self._uid),
            json_file=str(report),
            private_addresses="true",
            state=str(self.rig.root / "checker"),
        )
        checker.start()
        code = checker.process.wait(120) if checker.process else 1
        if not report.exists():
            raise ComputeError(Code.PROBE_FAILED, f"exit code {code}: {checker.tail(3)}")
        outcome = json.loads(report.read_text())[0]
        checks = {check["name"]: check["outcome"] for check in outcome["checks"]}
        self.found.probe = {"ok": outcome["ok"], "checks": checks, "exit_code": code}
        if not outcome["ok"] or code != 0:
            bad = [c for c in outcome["checks"] if c["outcome"] == "fail"]
            raise ComputeError(
                Code.PROBE_FAILED, "; ".join(f"{c['name']}: {c['reason']}" for c in bad)
            )
        self.step(f"the probe passed {len(checks)} checks")

    def see_end(self, record: LeaseRecord) -> None:
        """Watch the lease end by itself."""
        self.step("watching the lease end by itself")

        def look() -> LeaseReply | None:
            reply: LeaseReply = self._as_renter(
                lambda renter, _: renter.operate(record, LeaseAction.STATUS)
            )
            return reply if reply.ended_at is not None else None

        reply = self.rig.wait("end of the lease", look, LEASE_S + 30)
        late = (reply.ended_at or 0.0) - reply.expires_at
        self.found.lease["ended_after_deadline_s"] = round(late, 3)
        self.found.lease["reason"] = reply.reason
        if not 0 <= late <= LATE_S or reply.teardown is None:
            raise ComputeError(Code.PROBE_TEARDOWN, f"ended {late:.1f} s after its deadline")
        self.step(f"the lease ended {late:.2f} s after its deadline, with a signed teardown")


def _figures(record: Record) -> dict[str, Any]:
    """TOPS and seconds of a proof's record."""
    content = ProofContent.model_validate(record.content)
    tops = sum(gpu.tops_milli for gpu in content.gpus) / 1000
    return {"tops": tops, "seconds": content.seconds_ms / 1000}


def main() -> int:
    """Run the demo; its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write what was found here")
    parser.add_argument("--keep", action="store_true", help="keep the state folder and its logs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = Path(os.environ.get("COMPUTE_STATE", tempfile.gettempdir()))
    base.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    begun = time.monotonic()
    client = docker.from_env(timeout=60)
    fault: ComputeError | None = None
    with Rig(root, os.environ.get("DOCKER_HOST", ""), PLAN) as rig:
        demo = Demo(rig, print)
        try:
            demo.run()
        except ComputeError as error:
            fault = error
        demo.step("stopping the neurons")
        pids, owner = [neuron.pid for neuron in rig.neurons.values()], rig.owner()
        try:
            rig.stop()
        except ComputeError as error:
            fault = fault or error
    left = count_leftovers(client, [owner], pids, root)
    demo.found.leftovers = asdict(left)
    demo.found.seconds = round(time.monotonic() - begun, 1)
    if fault is None and left != Leftovers():
        fault = ComputeError(Code.PROBE_TEARDOWN, f"left behind: {demo.found.leftovers}")
    return _conclude(demo, fault, options, root)


def _conclude(demo: Demo, fault: ComputeError | None, options: Any, root: Path) -> int:
    found = {**asdict(demo.found), "error": str(fault) if fault else None}
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    rows = table("WHAT", "FOUND")
    for name, value in _summary(demo.found).items():
        rows.add_row(name, value)
    print()
    Output().data(found, rows)
    if options.keep or fault:
        print(f"logs: {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    if fault:
        Output().error(fault)
        return fault.code.spec.exit_code
    return 0


def _summary(found: Findings) -> dict[str, str]:
    """The closing table."""
    lease, challenge = found.lease, found.challenge
    return {
        "chain": f"netuid {found.chain.get('netuid')}, {found.chain.get('block_s')} s a block",
        "miner": f"UID {found.miner.get('uid')} at {found.miner.get('axon')}",
        "validator": f"UID {found.validator.get('uid')}",
        "proof": f"passed {challenge.get('passed')}, {challenge.get('tops')} TOPS"
        f" in {challenge.get('seconds')} s",
        "weights": ", ".join(f"UID {uid}: {share:.3f}" for uid, share in found.weights.items()),
        "incentive": f"{found.incentive:.4f}",
        "lease": f"{lease.get('allocate_s')} s to allocate, {lease.get('ssh_s')} s to log in",
        "renter's proof": str(lease.get("verified", "")),
        "end of lease": f"{lease.get('ended_after_deadline_s')} s after its deadline",
        "probe": f"ok {found.probe.get('ok')}, {len(found.probe.get('checks', {}))} checks",
        "left behind": ", ".join(f"{count} {name}" for name, count in found.leftovers.items()),
        "took": f"{found.seconds} s",
    }


if __name__ == "__main__":
    sys.exit(main())
