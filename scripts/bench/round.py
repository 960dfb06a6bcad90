"""Measures a validator's whole round against simulated miners, and what its APIs hold.

The miners run in processes of their own: real HTTP, real signatures, real proofs at a small n. Of
each hundred, ten are dead (nothing listens), ten hang, five are malformed and five cheat; the rest
are honest. Miners, validator and load share this machine's processors.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.testing.chain import DevHost, DevWallet
from scripts.bench.proof_rows import Row, print_table
from scripts.bench.round_api import allocation_rows, weights_rows
from scripts.bench.round_miners import ADDRESS, GPU_MODEL

VALIDATOR = "//Validator"
MINERS_PER_PROCESS = 128
TEMPO = 600  # blocks of half a second: one epoch holds the longest round
HONEST, DEAD = "honest", "dead"
MALFORMED = ("babbling", "garbling")
CHEATING = ("forging", "pretending")  # the second claims a GPU that no class knows
AIMS = {
    "round_256_s": "<= 30",
    "round_1024_s": "<= 120",
    "round_1024_rss_mib": "<= 1024",
    "cheats_paid": "0",
    "honest_unpaid": "0",
    "weights_get_rps": ">= 2000",
}
CLASSES = f"""
version = 1
sweep_width = 64
[[class]]
name = "cpu-dev"
models = ["cpu-dev"]
development = true
n = 128
blocks = 4
memory_mib = 1
reference_tops = {{ value = 0.0000001, source = "nominal" }}
sweep_reference_s = {{ value = 10.0, source = "nominal" }}
[[class]]
name = "l4"
models = ["{GPU_MODEL}"]
development = true
n = 128
blocks = 4
memory_mib = 1
reference_tops = {{ value = 0.0000001, source = "nominal" }}
sweep_reference_s = {{ value = 10.0, source = "nominal" }}
"""


def habit_of(index: int) -> str:
    """How the miner of this number behaves: the same for each hundred."""
    place = index % 100
    if place % 10 == 3:
        return DEAD
    if place % 10 == 7:
        return "hanging"
    if place % 20 == 5:
        return MALFORMED[place // 20 % 2]
    if place % 20 == 15:
        return CHEATING[place // 20 % 2]
    return HONEST


def entry_of(index: int) -> dict[str, str]:
    """What a process of miners is told about one of them."""
    habit = habit_of(index)
    if habit == "pretending":
        return {"phrase": f"//Miner{index}", "habit": HONEST, "model": "Imagined H900"}
    return {
        "phrase": f"//Miner{index}",
        "habit": habit,
        "model": GPU_MODEL if index % 2 else "",
    }


class Subnet:
    """A development chain with so many miners, in processes of their own."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        params = SubnetParams(
            tempo=TEMPO, weights_rate_limit=1, serving_rate_limit=0, max_uids=4096
        )
        self.host = DevHost(folder, params, ChainParams(block_s=0.5))
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Subnet":
        validator = self.host.registered(VALIDATOR, stake=10_000)
        self.host.advance(TEMPO + 1)  # a permit comes with an epoch
        ports: dict[int, int] = {}
        for start in range(0, self.count, MINERS_PER_PROCESS):
            numbers = range(start, min(self.count, start + MINERS_PER_PROCESS))
            alive = [number for number in numbers if habit_of(number) != DEAD]
            ports |= zip(alive, self._start(validator.address, alive), strict=True)
        self.host.provision._state.change(lambda tx: self._settle(tx.db, ports))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.stdin.close()  # type: ignore[union-attr]
        for process in self.processes:
            process.wait(20)
        self.host.close()

    def _start(self, validator: str, numbers: list[int]) -> list[int]:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.round_miners"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self.processes.append(process)
        config = {"validator": validator, "miners": [entry_of(number) for number in numbers]}
        process.stdin.write(json.dumps(config) + "\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return list(json.loads(process.stdout.readline()))  # type: ignore[union-attr]

    def _settle(self, database: Any, ports: dict[int, int]) -> None:
        """Seat and announce all miners at once: this is the scenery, not what is measured."""
        dead = free_port()
        for number in range(self.count):
            address = DevWallet(f"//Miner{number}").address
            database.execute(
                "INSERT INTO neurons (netuid, uid, hotkey, registered_at, last_update, last_try)"
                " VALUES (?, ?, ?, 1, 1, 0)",
                (self.host.netuid, number + 1, address),
            )
            database.execute(
                "INSERT INTO axons VALUES (?, ?, 1, 1, ?, ?, 4, 4)",
                (
                    self.host.netuid,
                    address,
                    str(int(IPv4Address(ADDRESS))),
                    ports.get(number, dead),
                ),
            )


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def one_round(count: int) -> dict[str, Any]:
    """Measure one whole round over so many miners."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compute-bench-")))
        subnet = stack.enter_context(Subnet(folder, count))
        run = {
            "network": subnet.host.network,
            "netuid": subnet.host.netuid,
            "phrase": VALIDATOR,
            "url": f"sqlite:///{folder / 'validator.sqlite'}",
            "classes": CLASSES,
            "settings": {
                "policy": "dev",
                "poll_s": 0.25,
                "metagraph_every": 100_000,
                "weights_at": 0.0,
                "cadence": {"specs": 100_000, "proofs": 100_000, "jitter": 0},
                "deadline": {"specs_s": 5.0, "setup_s": 15.0, "open_s": 10.0},
                "bound": {"calls": 128, "sessions": 128, "units": 8},
            },
        }
        done = subprocess.run(
            [sys.executable, "-m", "scripts.bench.round_validator"],
            input=json.dumps(run) + "\n",
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the validator failed, see above")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        paid = {int(uid) - 1 for uid in figures.pop("vector")}
        honest = {number for number in range(count) if habit_of(number) == HONEST}
        return figures | {
            "cheats_paid": len(paid - honest),
            "honest_unpaid": len(honest - paid),
        }


def round_rows(counts: list[int]) -> Iterator[Row]:
    """Measure rounds of several sizes."""
    cheats = unpaid = 0
    for count in counts:
        figures = one_round(count)
        cheats += figures["cheats_paid"]
        unpaid += figures["honest_unpaid"]
        for name, unit in (
            ("wall_s", "s"),
            ("cpu_s", "s"),
            ("specs_s", "s"),
            ("proofs_s", "s"),
            ("weights_s", "s"),
            ("rss_mib", "MiB"),
            ("fds", "files"),
        ):
            metric = f"round_{count}_s" if name == "wall_s" else f"round_{count}_{name}"
            yield Row(metric, figures[name], unit, 1)
    yield Row("cheats_paid", cheats, "miners", sum(counts))
    yield Row("honest_unpaid", unpaid, "miners", sum(counts))


def all_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure everything that was asked for, with the aims beside it."""
    parts = [round_rows(options.miners)] if options.miners else []
    if not options.no_api:
        parts += [weights_rows(options.seconds), allocation_rows(options.seconds)]
    for part in parts:
        for row in part:
            yield Row(**{**asdict(row), "reference": AIMS.get(row.metric, "")})


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="scripts/bench/round", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument(
        "--miners", type=int, nargs="*", default=[256, 1024], help="sizes of the subnet"
    )
    parser.add_argument("--no-api", action="store_true", help="leave the APIs out")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    options = parser.parse_args()
    described = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    rows = list(print_table(all_rows(options)))
    if options.json:
        report = {"name": "round", "machine": described, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
