"""The chain's file: what time it is, and what is said when the file cannot be used."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from compute.adapters.chain import SdkChain
from compute.adapters.chain.devchain import (
    ChainParams,
    DevChainAwayError,
    Provision,
    SubnetParams,
    create,
)
from compute.adapters.chain.devchain import file as chain_file
from compute.errors import ChainError, Code
from compute.testing.chain import DevHost, DevWallet


class ManualClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now_s


@pytest.fixture
def clock() -> ManualClock:
    """The test's own time."""
    return ManualClock()


@pytest.fixture
def chain(tmp_path: Path, clock: ManualClock) -> Provision:
    """A chain with blocks of two seconds and one subnet."""
    params = ChainParams(block_s=2.0)
    return create(tmp_path / "c.sqlite", params, {1: SubnetParams(tempo=5)}, clock=clock)


def test_blocks_come_with_the_clock(chain: Provision, clock: ManualClock):
    """One block for each block time that has passed, the first one at once."""
    assert chain.block() == 1
    clock.now_s += 1.9
    assert chain.block() == 1
    clock.now_s += 0.2
    assert chain.block() == 2
    clock.now_s += 200
    assert chain.block() == 102


def test_skipped_blocks_add_to_those_of_the_clock(chain: Provision, clock: ManualClock):
    """Letting blocks pass by hand does not stop the clock."""
    assert chain.advance(10) == 11
    clock.now_s += 4
    assert chain.block() == 13


def test_blocks_never_go_back(chain: Provision, clock: ManualClock):
    """A clock that is set back stops the chain instead of turning it back."""
    clock.now_s += 100
    chain.fund(DevWallet("//Alice").address, 1)
    clock.now_s -= 50
    assert chain.block() == 51
    clock.now_s += 52
    assert chain.block() == 52


def test_another_process_sees_the_parameters_of_the_file(chain: Provision, clock: ManualClock):
    """Block time and all else come from the file, so that everybody agrees."""
    clock.now_s += 6
    assert Provision(chain.path, clock).block() == 4


def test_a_chain_is_never_made_over_another_file(chain: Provision):
    """What is there stays."""
    with pytest.raises(FileExistsError):
        create(chain.path)
    assert chain.block() == 1


def test_a_log_of_an_earlier_chain_does_not_get_into_a_new_one(tmp_path: Path):
    """Removing only the main file and making a chain anew gives a clean chain."""
    path = tmp_path / "c.sqlite"
    old = create(path, subnets={1: SubnetParams()})
    old.fund(DevWallet("//Alice").address, 5)
    assert path.with_name("c.sqlite-wal").stat().st_size > 0
    path.unlink()
    create(path, subnets={2: SubnetParams()})
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT netuid FROM subnets").fetchall() == [(2,)]


def test_only_its_owner_reads_a_chain(chain: Provision):
    """The file holds a private key of the shield: nobody else may read it."""
    assert chain.path.stat().st_mode & 0o077 == 0


def _missing(path: Path) -> None:
    path.unlink()


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


def _another_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (x)")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _another_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = '999' WHERE key = 'version'")


@pytest.mark.parametrize(
    "spoil",
    [_missing, _garbage, _emptied, _cut, _another_database, _a_folder, _another_version],
)
async def test_a_spoiled_file_is_a_chain_that_is_away(
    tmp_path: Path, spoil: Callable[[Path], None]
):
    """Whatever has become of the file, a neuron is told that the chain is away, in one line."""
    host = DevHost(tmp_path, SubnetParams())
    wallet = host.registered("//Alice")
    host.close()
    for suffix in ("-wal", "-shm"):
        host.path.with_name(host.path.name + suffix).unlink(missing_ok=True)
    spoil(host.path)
    chain = host.chain(wallet)
    for work in (chain.metagraph(), chain.commit(b"x")):
        with pytest.raises(ChainError) as caught:
            await work
        assert caught.value.code is Code.CHAIN_AWAY
        assert "development chain" in caught.value.detail
        assert str(tmp_path) not in caught.value.diagnostics()
    await chain.close()


async def test_a_neuron_finds_the_chain_again(tmp_path: Path):
    """A file that goes away and comes back, as another chain, is used again by itself."""
    host = DevHost(tmp_path, SubnetParams())
    chain = host.chain(host.registered("//Alice"))
    assert len((await chain.metagraph()).neurons) == 1
    host.close()
    host.path.unlink()
    with pytest.raises(ChainError):
        await chain.block()
    create(host.path, ChainParams(manual=True), {1: SubnetParams()})
    assert (await chain.metagraph()).neurons == ()
    await chain.close()


def test_a_lock_that_is_never_released_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A writer that waits in vain says that the file is locked; readers are not kept waiting."""
    monkeypatch.setattr(chain_file, "LOCK_WAIT_S", 0.05)
    host = DevHost(tmp_path, SubnetParams())
    with sqlite3.connect(host.path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        reader = Provision(host.path)
        assert reader.block() == 1
        with pytest.raises(DevChainAwayError, match="locked"):
            reader.fund("x", 1)
        db.execute("ROLLBACK")
        reader.fund("x", 1)


def open_files() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_an_away_chain_does_not_keep_threads(tmp_path: Path):
    """Failing to connect again and again leaves nothing behind."""
    chain = SdkChain(f"dev:{tmp_path}/none.sqlite", 1, DevWallet("//Alice"))
    before = len(asyncio.all_tasks()), open_files()
    for _ in range(20):
        with pytest.raises(ChainError):
            await chain.block()
    await asyncio.sleep(0)
    tasks, files = len(asyncio.all_tasks()), open_files()
    assert tasks <= before[0]
    assert files <= before[1] + 1
