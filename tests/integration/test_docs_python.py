"""Every Python block of the docs is run; those of docs/sdk.md on a real miner, in test_sdk."""

import ast
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compute.proof.engine_numpy import NumpyEngine
from compute.proof.loopback import LoopbackChannel
from compute.proof.prover import ProverSession
from compute.testing.axon import metagraph, neuron
from compute.testing.rig import free_port
from compute.testing.wallets import dev_wallet
from tests.documents import Block, blocks

ELSEWHERE = "docs/sdk.md"
BLOCKS = [block for block in blocks("python") if block.page != ELSEWHERE]
Names = dict[str, Any]


def chain_names(folder: Path) -> Names:
    keys = {"hotkey": dev_wallet("Bob"), "coldkey": dev_wallet("Charlie")}
    return {
        "path": folder / "chain.sqlite",
        **{name: wallet.hotkey.ss58_address for name, wallet in keys.items()},
    }


def chain_works(names: Names) -> None:
    found = names["subtensor"].subnets.metagraph(1)
    assert [neuron.hotkey for neuron in found] == [names["hotkey"]]


def fleet_names(_folder: Path) -> Names:
    return {
        "pool": ThreadPoolExecutor(1),
        "model": "cpu-dev",
        "hotkey": dev_wallet("Bob").hotkey.ss58_address,
        "uuid": "cpu",
        "channel": LoopbackChannel(ProverSession(lambda _gpu: NumpyEngine())),
    }


def fleet_proves(names: Names) -> None:
    names["pool"].shutdown()
    assert names["result"].passed
    assert names["credit"] > 0


def axon_names(_folder: Path) -> Names:
    miner, validator = dev_wallet("Bob"), dev_wallet("Charlie")

    async def read_metagraph():
        return metagraph([neuron(validator.hotkey.ss58_address, stake=1e6)])

    return {
        "wallet": miner,
        "validator_wallet": validator,
        "hotkey": miner.hotkey.ss58_address,
        "read_metagraph": read_metagraph,
    }


PORT = str(free_port("127.0.0.1"))


@dataclass(frozen=True)
class Given:
    """What a block takes for granted.

    Attributes:
        said: what only this block says.
        names: makes the names that it uses and does not make.
        shows: looks at what has become of its names.
        replaced: what it says that does not hold on one machine, and what does.
        ends: what it leaves running, to be awaited.
    """

    said: str
    names: Callable[[Path], Names] = lambda _folder: {}
    shows: Callable[[Names], None] = lambda _names: None
    replaced: Mapping[str, str] | None = None
    ends: tuple[str, ...] = ()


GIVEN = (
    Given("DevChain(path)", chain_names, chain_works),
    Given("prover_program()", shows=lambda _names: check_prover()),
    Given("FleetSlot", fleet_names, fleet_proves),
    Given(
        "Axon(wallet",
        axon_names,
        lambda names: check(names["answered"].reply.answer == "WHY"),
        {
            '"0.0.0.0", 8091': f'"127.0.0.1", {PORT}',
            "203.0.113.9:8091": f"127.0.0.1:{PORT}",
            "Dendrite(validator_wallet)": "Dendrite(validator_wallet, allow_private=True)",
        },
        ("axon.stop()", "view.stop()"),
    ),
)


def check(holds: bool) -> None:
    assert holds


def check_prover() -> None:
    assert Path("prover.pyz").stat().st_size > 10_000


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.page)
async def test_python_of_the_docs_runs(block: Block, tmp_path, monkeypatch):
    """Each block as it stands there, with what its page takes for granted."""
    monkeypatch.chdir(tmp_path)
    given = next((each for each in GIVEN if each.said in block.content), Given(""))
    source = block.content
    for said, instead in (given.replaced or {}).items():
        assert said in source
        source = source.replace(said, instead)
    names: Names = {"__name__": "__main__", **given.names(tmp_path)}
    try:
        await execute(source, block.page, names)
        given.shows(names)
    finally:
        for end in given.ends:
            await execute(f"await {end}", block.page, names)


async def execute(source: str, page: str, names: Names) -> None:
    """Run a source that may await at its top."""
    code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waits = eval(code, names)  # noqa: S307 - our own pages
    if inspect.iscoroutine(waits):
        await waits


def test_nothing_is_given_that_no_block_needs():
    """A row whose block has gone is taken out, and no two blocks share one."""
    for given in GIVEN:
        assert len([block for block in BLOCKS if given.said in block.content]) == 1, given.said
