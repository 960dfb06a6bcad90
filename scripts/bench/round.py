"""Measures a validator's whole round against simulated miners, and what its APIs hold.

The miners run in processes of their own: real HTTP, real signatures, real proofs at a small n. Of
each hundred, ten are dead (nothing listens), ten hang, five are malformed and five cheat; the rest
are honest. Miners, validator and load share this machine's processors.
"""

import argparse
import contextlib
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compute.testing.chain import DevWallet
from scripts.bench.proof_rows import Row, print_table
from scripts.bench.round_api import allocation_rows, weights_rows
from scripts.bench.round_subnet import CLASSES, HONEST, VALIDATOR, Subnet, habit_of

AIMS = {
    "round_256_s": "<= 30",
    "round_1024_s": "<= 120",
    "round_1024_rss_mib": "<= 1024",
    "cheats_paid": "0",
    "honest_unpaid": "0",
    "weights_get_rps": ">= 2000",
}


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
            raise SystemExit("the validator failed, see above")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        paid = {int(uid) - 1 for uid in figures.pop("vector")}
        honest = {number for number in range(count) if habit_of(number) == HONEST}
        if honest - paid:
            explain(f"sqlite:///{folder / 'validator.sqlite'}", honest - paid)
        return figures | {
            "cheats_paid": len(paid - honest),
            "honest_unpaid": len(honest - paid),
        }


def explain(url: str, unpaid: set[int]) -> None:
    """Say on standard error what is on record against honest miners that were not paid."""
    hotkeys = {DevWallet(f"//Miner{number}").address for number in unpaid}
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        rows = database.execute("SELECT line FROM evidence").fetchall()
    records = [json.loads(line) for (line,) in rows]
    found = Counter(
        f"{record['kind']} {record['outcome']} {record['reason']} {record.get('detail', '')}"
        for record in records
        if record["miner"] in hotkeys
    )
    for what, times in found.most_common(10):
        print(f"unpaid though honest: {times} x {what}", file=sys.stderr)


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
