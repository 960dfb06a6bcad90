"""Several processes on one development chain, and what is left when one of them is killed."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.adapters.chain.devchain import SubnetParams
from compute.testing.chain import DevHost, DevWallet

WORKER = Path(__file__).with_name("devchain_worker.py")
CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
EACH = 25


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DevHost]:
    """A chain whose subnet takes any number of commitments."""
    made = DevHost(tmp_path, SubnetParams(commitment_space=10**9))
    yield made
    made.close()


def start(host: DevHost, phrase: str, first: int, many: int) -> subprocess.Popen[str]:
    """A process that publishes numbers."""
    arguments = (host.network, str(host.netuid), phrase, str(first), str(many))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        [sys.executable, WORKER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=CHECKOUT,
    )


def published(host: DevHost, wallet: DevWallet) -> bytes | None:
    """What the wallet's hotkey has published."""

    async def read() -> bytes | None:
        chain = host.chain(wallet)
        try:
            return await chain.commitment(wallet.address)
        finally:
            await chain.close()

    return asyncio.run(read())


def nonce(host: DevHost, wallet: DevWallet) -> int:
    """How many transactions of the hotkey are in blocks."""
    with host.subtensor() as sub:
        return int(sub.query(("System", "Account"), [wallet.address])["nonce"])


def test_processes_write_at_once_and_lose_nothing(host: DevHost):
    """Four processes with keys of their own: each transaction of each is in a block."""
    wallets = [host.registered(f"//Worker{number}") for number in range(4)]
    running = [start(host, wallet.phrase, 0, EACH) for wallet in wallets]
    for process in running:
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    for wallet in wallets:
        assert nonce(host, wallet) == EACH
        assert published(host, wallet) == str(EACH - 1).encode()


def test_processes_with_one_key_do_not_trip_over_its_nonce(host: DevHost):
    """Three processes that share a key: all of their transactions are in blocks, each once."""
    wallet = host.registered("//Shared")
    running = [start(host, wallet.phrase, number * 100, EACH) for number in range(3)]
    for process in running:
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
    assert nonce(host, wallet) == 3 * EACH


@pytest.mark.parametrize("after", [1, 4, 9, 17])
def test_a_killed_process_leaves_a_whole_chain(host: DevHost, after: int):
    """SIGKILL in the middle of writing: what was accepted is there, and the next one goes on."""
    wallet = host.registered("//Killed")
    process = start(host, wallet.phrase, 0, 0)
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    process.kill()
    rest = process.stdout.read().split()  # communicate() would lose what readline() has buffered
    process.wait(TIMEOUT_S)
    accepted = after + len(rest)
    found = published(host, wallet)
    assert found is not None
    # One more may have been accepted and not told any more.
    assert accepted - 1 <= int(found) <= accepted
    assert nonce(host, wallet) == int(found) + 1
    with sqlite3.connect(host.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    next_one = start(host, wallet.phrase, 1000, 1)
    next_one.communicate(timeout=TIMEOUT_S)
    assert published(host, wallet) == b"1000"


def test_every_process_sees_blocks_that_one_lets_pass(host: DevHost):
    """Time belongs to the chain, not to a process."""
    before = host.provision.block()
    code = "import sys; from compute.adapters.chain.devchain.__main__ import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", code, "advance", "--file", host.path, "--blocks", "7"],
        check=True,
        capture_output=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert host.provision.block() == before + 7
