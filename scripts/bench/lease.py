"""Measures leases on a real engine: how fast they start and end, and how many there can be.

Cold starts and the bare engine's take turns, so that a noisy machine disturbs both alike. The
miner's service is called as its axon calls it, without the HTTP in between (see the axon's bench).
The engine is the one of DOCKER_HOST, the system's, or a private one.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import docker

from compute.adapters.engine.baseimage import BaseImageSettings, ensure_base_image
from compute.adapters.engine.private import hold_engine
from compute.domain.requirement import Requirement
from compute.errors import ComputeError
from compute.miner.service import MinerService
from compute.protocol.synapses import LeaseAction
from compute.settings.leases import WarmSettings
from compute.telemetry import logs
from compute.testing.leases import FakeRenter, real_service
from scripts.bench.lease_floor import Floor
from scripts.bench.lease_health import health_during_build
from scripts.bench.proof_rows import Row, print_table

MEMORY_MIB = 512
SHAPE = Requirement(memory_mib=MEMORY_MIB, disk_mib=256)
BURST = 20
SPAN_S = 120.0
BUILD_S = 60.0
THREADS = 4
AIMS = {
    "cold_over_floor": "<= 1.3",
    "warm_ssh_p50_s": "<= 0.15",
    "end_p95_s": "<= 1.5",
    "leases_per_hour": "> 3000",
    "health_p99_ms_during_build": "<= 50",
}


class Bench:
    """One miner's service and one renter.

    Args:
        engine_url: of the engine.
        image: engine id of the base image.
        folder: for state folders.
    """

    def __init__(self, engine_url: str, image: str, folder: Path) -> None:
        self.engine_url = engine_url
        self.image = image
        self.folder = folder

    def service(self, name: str, **settings: Any) -> MinerService:
        """A started service."""
        service = real_service(
            self.folder / name, self.engine_url, self.image, on_stop="end", **settings
        )
        service.start()
        return service

    def start_and_end(self, count: int) -> Iterator[Row]:
        """Cold starts, the floor beside them, and ends."""
        service = self.service("cold")
        port = service.host.settings.last_port
        floor = Floor(self.engine_url, self.image, port, MEMORY_MIB)
        renter = FakeRenter(service)
        cold, bare, ends = [], [], []
        with floor.network():
            floor.start_s()
            self.end_s(renter, self.lease_s(renter)[1])
            for _ in range(count):
                took, lease_id = self.lease_s(renter)
                cold.append(took)
                ends.append(self.end_s(renter, lease_id))
                bare.append(floor.start_s())
        service.stop()
        yield from spread("cold_ssh", cold)
        yield from spread("floor_ssh", bare)
        yield Row("cold_over_floor", median(cold) / median(bare), "", count)
        yield from spread("end", ends)

    def warm(self, count: int) -> Iterator[Row]:
        """Starts from the pool."""
        service = self.service("warm", warm=WarmSettings(size=2, shape=SHAPE))
        renter = FakeRenter(service)
        took = []
        for _ in range(count):
            wait_until(lambda: len(service.manager.pool) == 2, 30)  # noqa: PLR2004 - its size
            seconds, lease_id = self.lease_s(renter)
            took.append(seconds)
            self.end_s(renter, lease_id)
        service.stop()
        yield from spread("warm_ssh", took)

    def burst(self, count: int) -> Iterator[Row]:
        """So many leases asked for at once."""
        service = self.service("burst")
        renter = FakeRenter(service)
        began = time.perf_counter()
        in_parallel(count, lambda: self.lease_s(renter))
        yield Row("burst20_s", time.perf_counter() - began, "s", count)
        service.stop()

    def sustained(self, span_s: float) -> Iterator[Row]:
        """Leases made and ended, one after the other in a few threads."""
        service = self.service("sustained")
        until = time.perf_counter() + span_s
        done: list[str] = []

        def work() -> None:
            renter = FakeRenter(service)
            while time.perf_counter() < until:
                _, lease_id = self.lease_s(renter)
                self.end_s(renter, lease_id)
                done.append(lease_id)

        began = time.perf_counter()
        in_parallel(THREADS, work)
        took = time.perf_counter() - began
        service.stop()
        yield Row("leases_per_hour", len(done) / took * 3600, "1/h", len(done))

    def health(self, build_s: float) -> Iterator[Row]:
        """Answers to a health request while an image is built."""
        latencies = health_during_build(
            self.folder / "health", self.engine_url, self.image, build_s
        )
        p99 = quantiles(latencies, n=100)[98] * 1000
        yield Row("health_p99_ms_during_build", p99, "ms", len(latencies))

    def lease_s(self, renter: FakeRenter) -> tuple[float, str]:
        """Seconds from the request to the SSH banner, and the lease."""
        began = time.perf_counter()
        reply = renter.allocate(requirement=SHAPE)
        return time.perf_counter() - began, reply.lease_id

    def end_s(self, renter: FakeRenter, lease_id: str) -> float:
        """Seconds from the release to the proof of teardown."""
        began = time.perf_counter()
        renter.operate(lease_id, LeaseAction.RELEASE)
        return time.perf_counter() - began


def spread(name: str, seconds: list[float]) -> Iterator[Row]:
    """Median and 95th percentile."""
    cuts = quantiles(seconds, n=20) if len(seconds) > 1 else [seconds[0]] * 19
    yield Row(f"{name}_p50_s", median(seconds), "s", len(seconds))
    yield Row(f"{name}_p95_s", cuts[18], "s", len(seconds))


def in_parallel(count: int, work: Callable[[], object]) -> None:
    """Run the same work in so many threads, and wait for all of them; one that fails fails all."""
    with ThreadPoolExecutor(count) as pool:
        for each in [pool.submit(work) for _ in range(count)]:
            each.result()


def wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait for something that happens by itself."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("it did not happen in time")
        time.sleep(0.005)


def all_rows(bench: Bench, options: argparse.Namespace) -> Iterator[Row]:
    """Every figure."""
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "start": lambda: bench.start_and_end(options.count),
        "warm": lambda: bench.warm(options.count),
        "burst": lambda: bench.burst(BURST),
        "sustained": lambda: bench.sustained(options.span),
        "health": lambda: bench.health(options.build),
    }
    for name, part in parts.items():
        if name in options.only or not options.only:
            yield from part()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench/lease", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--count", type=int, default=50, help="starts of each kind")
    parser.add_argument("--span", type=float, default=SPAN_S, help="seconds of sustained leasing")
    parser.add_argument("--build", type=float, default=BUILD_S, help="seconds of the image build")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=["start", "warm", "burst", "sustained", "health"]
    )
    return parser.parse_args()


def main() -> int:
    """Run the bench."""
    options = parse()
    logs.configure("error", role="bench")
    state = Path(os.environ.get("COMPUTE_STATE", ".state"))
    with (
        hold_engine(state, os.environ, lambda line: print(line, flush=True)) as found,
        tempfile.TemporaryDirectory() as folder,
    ):
        client = docker.DockerClient(base_url=found.docker_host, timeout=600)
        image = ensure_base_image(client, BaseImageSettings(state=state), print)
        described = {
            "machine": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "engine": client.version()["Version"],
            "python": platform.python_version(),
            "date": time.strftime("%Y-%m-%d"),
        }
        print(", ".join(f"{name} {value}" for name, value in described.items()))
        bench = Bench(found.docker_host, image.id, Path(folder))
        aimed = (
            Row(**{**asdict(row), "reference": AIMS.get(row.metric, "")})
            for row in all_rows(bench, options)
        )
        rows = list(print_table(aimed))
    if options.json:
        report = {"name": "lease", "machine": described, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ComputeError as error:
        sys.exit(error.diagnostics())
