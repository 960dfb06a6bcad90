"""The scenery of the bench: a development chain and its simulated miners, as processes."""

import json
import os
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.testing.chain import DevHost, DevWallet
from compute.testing.validating import small_classes
from scripts.bench.round_miners import ADDRESS, GPU_MODEL

VALIDATOR = "//Validator"
MINERS_PER_PROCESS = 128
TEMPO = 600  # blocks of half a second: one epoch holds the longest round
HONEST, DEAD, HANGING = "honest", "dead", "hanging"
MALFORMED = ("babbling", "garbling")
CHEATING = ("forging", "pretending")  # the second claims a GPU that no class knows
CLASSES = small_classes(GPU_MODEL)


def habit_of(index: int) -> str:
    """How the miner of this number behaves: the same for each hundred."""
    by_place = {5: MALFORMED[index // 20 % 2], 15: CHEATING[index // 20 % 2]}
    return by_place.get(index % 20) or {3: DEAD, 7: HANGING}.get(index % 10, HONEST)


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

    def __init__(self, folder: Path, count: int, places: int = 4) -> None:
        self.count = count
        self.places = places
        params = SubnetParams(
            tempo=TEMPO, weights_rate_limit=1, serving_rate_limit=0, max_uids=4096
        )
        self.host = DevHost(folder, params, ChainParams(block_s=0.5))
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        validator = self.host.registered(VALIDATOR, stake=10_000)
        self.host.advance(TEMPO + 1)  # a permit comes with an epoch
        ports: dict[int, int] = {}
        for start in range(0, self.count, MINERS_PER_PROCESS):
            numbers = range(start, min(self.count, start + MINERS_PER_PROCESS))
            alive = [number for number in numbers if habit_of(number) != DEAD]
            ports |= zip(alive, self._start(validator.address, alive), strict=True)
        state = self.host.provision._state  # noqa: SLF001 - there is no such shortcut for neurons
        state.change(lambda tx: self._settle(tx.db, ports))
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
        config = {
            "validator": validator,
            "places": self.places,
            "miners": [entry_of(number) for number in numbers],
        }
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
