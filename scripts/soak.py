"""Runs a miner and a validator for a long time with fast blocks and looks for leaks.

Memory, threads and open files of both (and of their child processes), and containers, networks and
volumes in the engine, are sampled all the while; leases are made, used, extended and ended. The
verdict compares the last quarter with the second: the first is warming up.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import docker
import psutil

from compute.adapters.ssh.session import SshSession
from compute.cli.output import Output, table
from compute.domain.evidence import EvidenceKind
from compute.domain.evidence import Outcome as Found
from compute.domain.requirement import Requirement
from compute.errors import ComputeError
from compute.protocol.address import Peer
from compute.protocol.dendrite import Dendrite
from compute.renter.book import LeaseBook
from compute.renter.client import Renter, Wish
from compute.testing.leftovers import count_leftovers
from compute.testing.rig import ADDRESS, NeuronProcess, Rig, RigPlan

SAMPLE_S = 10.0
RENT_EVERY_S = 15.0
LEASE_S = 10
GROWTH = 0.15  # share by which the last quarter's median may exceed the second's
SLACK = {"rss_mib": 12.0, "threads": 3.0, "files": 6.0}
PLAN = RigPlan(
    block_s=0.25,
    tempo=20,
    settings={
        "validator": {
            "validation.cadence.specs": "20",
            "validation.cadence.proofs": "60",
            "validation.cadence.probes": "120",
            "validation.cadence.jitter": "2",
            "validation.poll_s": "0.25",
        }
    },
)


@dataclass
class Sample:
    """One look at everything."""

    at_s: float
    miner: dict[str, float]
    validator: dict[str, float]
    engine: dict[str, int]


@dataclass
class Soak:
    """What was seen."""

    samples: list[Sample] = field(default_factory=list)
    leases: int = 0
    failed: list[str] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)


def measure(neuron: NeuronProcess) -> dict[str, float]:
    """Memory, threads and open files of a neuron and its children together."""
    try:
        root = psutil.Process(neuron.pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return {"rss_mib": 0, "threads": 0, "files": 0, "processes": 0}
    totals = {"rss_mib": 0.0, "threads": 0.0, "files": 0.0, "processes": 0.0}
    for process in processes:
        try:
            with process.oneshot():
                totals["rss_mib"] += process.memory_info().rss / 2**20
                totals["threads"] += process.num_threads()
                totals["files"] += process.num_fds()
                totals["processes"] += 1
        except psutil.NoSuchProcess:
            continue
    return totals


async def rent_once(rig: Rig, peer: Peer, number: int, soak: Soak) -> None:
    """One rental of a few seconds that ends by its deadline, or every third time by release."""
    book = LeaseBook(rig.root / "renter")
    name = f"soak-{number}"
    async with Dendrite(rig.wallet("validator"), allow_private=True) as dendrite:
        renter = Renter(dendrite, book, hotkey=dendrite.hotkey, netuid=rig.plan.netuid)
        record = await renter.up(
            peer, Wish(LEASE_S, Requirement(cpus=1, memory_mib=256)), name=name
        )
        credentials = record.credentials
        if credentials is None:
            return
        key = book.keys(name).ssh.private
        session = await asyncio.to_thread(SshSession, credentials, key)
        try:
            await asyncio.to_thread(session.run, "echo soak")
        finally:
            await asyncio.to_thread(session.close)
        if number % 3 == 0:
            await renter.down(record)
    book.forget(name)
    soak.leases += 1


def run(rig: Rig, client: docker.DockerClient, minutes: float, say: Any) -> Soak:
    """Let it run, sampling and renting."""
    soak = Soak()
    rig.register("miner")
    rig.register("validator", stake=rig.plan.stake)
    if rig.provision is not None:
        rig.provision.advance(rig.plan.tempo + 1)
    miner, validator = rig.start_miner(), rig.start_validator()
    rig.wait_ready(miner)
    port = int(miner.arguments[miner.arguments.index("--axon.port") + 1])
    peer = Peer(rig.wallet("miner").hotkey.ss58_address, ADDRESS, port)
    begun, sampled, rented = time.monotonic(), 0.0, 0.0
    owner = rig.owner()
    while (now := time.monotonic() - begun) < minutes * 60:
        if not (miner.running and validator.running):
            soak.failed.append(f"a neuron ended: {miner.tail(3)} {validator.tail(3)}")
            return soak
        if now - rented >= RENT_EVERY_S:
            rented = now
            try:
                asyncio.run(rent_once(rig, peer, soak.leases + len(soak.failed), soak))
            except ComputeError as error:
                soak.failed.append(f"{now:.0f} s: {error}")
        if now - sampled >= SAMPLE_S:
            sampled = now
            left = asdict(count_leftovers(client, [owner], [], rig.root / "none"))
            sample = Sample(round(now, 1), measure(miner), measure(validator), left)
            soak.samples.append(sample)
            if len(soak.samples) % 30 == 1:
                say(
                    f"[{now:6.0f} s] miner {sample.miner['rss_mib']:.0f} MiB, validator "
                    f"{sample.validator['rss_mib']:.0f} MiB, {soak.leases} leases, "
                    f"{len(soak.failed)} failed"
                )
        time.sleep(0.5)
    return soak


def verdict(soak: Soak) -> tuple[list[tuple[str, float, float, bool]], bool]:
    """Second quarter against last quarter, for each figure of each neuron."""
    quarter = max(1, len(soak.samples) // 4)
    early, late = soak.samples[quarter : 2 * quarter], soak.samples[-quarter:]
    rows = []
    for role in ("miner", "validator"):
        for figure, slack in SLACK.items():
            before = statistics.median(getattr(s, role)[figure] for s in early)
            after = statistics.median(getattr(s, role)[figure] for s in late)
            rows.append((f"{role} {figure}", before, after, after <= before * (1 + GROWTH) + slack))
    return rows, all(row[3] for row in rows)


def main() -> int:
    """Run the soak; 0 when nothing grew and every lease worked."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = Path(os.environ.get("COMPUTE_STATE", tempfile.gettempdir()))
    base.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="soak-", dir=base))
    client = docker.from_env(timeout=60)
    with Rig(root, os.environ.get("DOCKER_HOST", ""), PLAN) as rig:
        soak = run(rig, client, options.minutes, lambda text: print(text, flush=True))
        records = rig.evidence()
        pids, owner = [n.pid for n in rig.neurons.values()], rig.owner()
        stops = {name: neuron.stop()[1] for name, neuron in rig.neurons.items() if neuron.running}
    time.sleep(LEASE_S + 5)  # what was still leased ends by its deadline, without the miner
    left = asdict(count_leftovers(client, [owner], pids, root))
    rows, steady = verdict(soak)
    counted = {
        kind.value: {
            outcome.value: sum(r.kind is kind and r.outcome is outcome for r in records)
            for outcome in Found
        }
        for kind in (
            EvidenceKind.SPECS,
            EvidenceKind.PROOF,
            EvidenceKind.PROBE,
            EvidenceKind.WEIGHTS,
        )
    }
    report = {
        "name": "soak",
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
        "minutes": options.minutes,
        "leases": soak.leases,
        "failed": soak.failed,
        "figures": [
            {"figure": name, "second_quarter": before, "last_quarter": after, "steady": fine}
            for name, before, after, fine in rows
        ],
        "evidence": counted,
        "stop_s": stops,
        "leftovers": left,
        "samples": [asdict(sample) for sample in soak.samples],
    }
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    shown = table("FIGURE", ">2ND QUARTER", ">LAST QUARTER", "STEADY")
    for name, before, after, fine in rows:
        shown.add_row(name, f"{before:.1f}", f"{after:.1f}", "yes" if fine else "NO")
    Output().data(None, shown)
    print(f"{soak.leases} leases, {len(soak.failed)} failed; evidence {counted}")
    print(f"stopped in {stops} s; left behind {left}")
    good = steady and not soak.failed and not any(left.values())
    if good:
        shutil.rmtree(root, ignore_errors=True)
    else:
        print(f"failed: {soak.failed[:5]}; logs: {root}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
