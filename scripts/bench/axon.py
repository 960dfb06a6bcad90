"""Measures axon and dendrite on loopback, beside those of bittensor 10.5, and a fan-out.

Each side serves in one process and calls from another. The two sides take turns, so that a noisy
machine disturbs both alike; the ratio is that of the medians. The peer runs in a virtual
environment of its own under a cache folder, made at the first run.

Both sign and check: a body of 1 KB in each direction, the peer with its body hash. Ours also signs
and checks a receipt for every answer, which the peer does not have.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from scripts.bench.axon_relay import Relay
from scripts.bench.proof_rows import Row, print_table

ROOT = Path(__file__).resolve().parents[2]
PEER_VERSION = "10.5.0"
AIMS = {
    "rps_ratio_32": ">= 10",
    "p99_ratio_32": "<= 0.2",
    "fanout_256_s": "<= deadline 5 + 1",
    "fanout_1024_s": "<= deadline 5 + 1",
}
Figures = dict[str, Any]


def cache_folder() -> Path:
    """Where the peer's environment is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "compute-bench"


def peer_python() -> Path:
    """The interpreter of the peer's environment, which is made when it is not there."""
    folder = cache_folder() / f"bittensor-{PEER_VERSION}"
    python = folder / "bin" / "python"
    stamp = folder / "complete"
    if not stamp.exists():
        print(f"making an environment for bittensor {PEER_VERSION} in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", f"bittensor=={PEER_VERSION}"]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        stamp.touch()
    return python


class Side:
    """One of the two that are compared.

    Args:
        command: what starts a process of this side.
        home: its home folder; the peer writes into it.
    """

    def __init__(self, command: list[str], home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._command = command
        self._environment = {**os.environ, "HOME": str(home)}

    @contextlib.contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A process that ends with the context."""
        with subprocess.Popen(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def load(self, port: int, in_flight: int, seconds: float) -> Figures:
        """Call the server of this side."""
        with self.process("call", str(port), str(in_flight), str(seconds)) as process:
            return dict(heard(process))


def heard(process: subprocess.Popen[str]) -> Any:
    """The next thing that a process says."""
    assert process.stdout  # noqa: S101 - it is a pipe
    for line in process.stdout:
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(line)
    raise SystemExit(f"{process.args!r} ended with {process.wait()}")


def compare(ours: Side, peer: Side, options: argparse.Namespace) -> Iterator[Row]:
    """Load both in turns at every number in flight."""
    rounds, seconds = options.rounds, options.seconds
    seen: dict[tuple[str, int], list[Figures]] = defaultdict(list)
    with ours.process("serve") as our_server, peer.process("serve") as peer_server:
        sides = (("", ours, int(heard(our_server))), ("peer_", peer, int(heard(peer_server))))
        time.sleep(2)  # the peer says its port before it listens
        for in_flight in options.in_flight:
            for _ in range(rounds):
                for prefix, side, port in sides:
                    seen[prefix, in_flight].append(side.load(port, in_flight, seconds))
        for prefix, side, port in sides:
            yield from byte_rows(prefix, side, port)
        memory = {"": our_server.pid, "peer_": peer_server.pid}
        rss = {prefix: psutil.Process(pid).memory_info().rss for prefix, pid in memory.items()}
    middle: dict[str, float] = {}
    for (prefix, in_flight), figures in seen.items():
        for name, unit in (("rps", "1/s"), ("p50_ms", "ms"), ("p99_ms", "ms")):
            metric = f"{prefix}{name}_{in_flight}"
            middle[metric] = median(figure[name] for figure in figures)
            yield Row(metric, middle[metric], unit, sum(figure["n"] for figure in figures))
        failed = sum(figure["failed"] for figure in figures)
        yield Row(f"{prefix}failed_{in_flight}", failed, "", rounds)
        client = max(figure["rss_mib"] for figure in figures)
        yield Row(f"{prefix}client_rss_mib_{in_flight}", client, "MiB", rounds)
    for prefix, held in rss.items():
        yield Row(f"{prefix}server_rss_mib", held / 2**20, "MiB", 1)
    for in_flight in options.in_flight:
        for name in ("rps", "p99"):
            kind = "rps" if name == "rps" else "p99_ms"
            mine, theirs = middle[f"{kind}_{in_flight}"], middle[f"peer_{kind}_{in_flight}"]
            ratio = mine / theirs if theirs > 0 else None
            yield Row(f"{name}_ratio_{in_flight}", ratio, "", rounds)


def byte_rows(prefix: str, side: Side, port: int) -> Iterator[Row]:
    """What one exchange puts on the wire, headers included."""
    with Relay(port).running() as relay:
        side.load(relay.port, 1, 1)
    for name, total in (("sent", relay.sent), ("received", relay.received)):
        yield Row(f"{prefix}{name}_bytes", total / relay.requests, "bytes", relay.requests)


def fan_out(ours: Side, count: int) -> Iterator[Row]:
    """One Specs round over a subnet with dead, hanging and lying axons."""
    with ours.process("subnet", str(count)) as server, ours.process("round") as caller:
        addresses = heard(server)
        assert caller.stdin  # noqa: S101 - it is a pipe
        caller.stdin.write(json.dumps(addresses) + "\n")
        caller.stdin.flush()
        figures = heard(caller)
    yield Row(f"fanout_{count}_s", figures["seconds"], "s", 1)
    yield Row(f"fanout_{count}_rss_mib", figures["rss_mib"], "MiB", 1)
    for code, number in sorted(figures["codes"].items()):
        yield Row(f"fanout_{count}_{code}", number, "axons", 1)


def all_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every figure, with what it is aimed at."""
    homes = cache_folder() / "home"
    ours = Side([sys.executable, "-m", "scripts.bench.axon_ours"], homes / "ours")
    if options.load:
        script = str(ROOT / "scripts" / "bench" / "axon_peer.py")
        peer = Side([str(peer_python()), script], homes / "peer")
        yield from compare(ours, peer, options)
    for count in options.axons:
        yield from fan_out(ours, count)


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="scripts/bench/axon", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3, help="turns at each number in flight")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each turn")
    parser.add_argument(
        "--in-flight", type=int, nargs="*", default=[1, 32, 256], help="requests at a time"
    )
    parser.add_argument("--axons", type=int, nargs="*", default=[256, 1024], help="of a fan-out")
    parser.add_argument(
        "--no-load", dest="load", action="store_false", help="leave the comparison out"
    )
    options = parser.parse_args()
    described = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    aimed = (
        Row(**{**asdict(row), "reference": AIMS.get(row.metric, "")}) for row in all_rows(options)
    )
    rows = list(print_table(aimed))
    if options.json:
        report = {"name": "axon", "machine": described, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
