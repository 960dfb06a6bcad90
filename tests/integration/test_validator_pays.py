"""A validator against simulated miners: real HTTP, signatures, proofs, chain rules and storage."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.domain.evidence import EvidenceKind, Outcome, Reason, Record
from compute.settings.validation import (
    BoundSettings,
    CadenceSettings,
    DeadlineSettings,
    ValidationSettings,
)
from compute.testing.axon import view_of
from compute.testing.chain import DevHost, DevWallet
from compute.testing.miners import Habit, SimulatedMiner, serving
from compute.testing.validating import ValidatorRun, validating
from compute.validator.service import ValidatorService

SETTINGS = ValidationSettings(
    policy="dev",
    poll_s=0.02,
    metagraph_every=1,
    weights_at=0.0,
    cadence=CadenceSettings(specs=20, proofs=20, probes=20, jitter=0),
    deadline=DeadlineSettings(specs_s=1.0, setup_s=1.5, open_s=3.0),
    bound=BoundSettings(units=8),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DevHost:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    params = SubnetParams(tempo=10, weights_rate_limit=1, serving_rate_limit=0)
    return DevHost(tmp_path, params, ChainParams(block_s=0.2))


async def until(look: Callable[[], Awaitable[bool] | bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            seen = look()
            if seen is True or (not isinstance(seen, bool) and await seen):
                return
            await asyncio.sleep(0.02)


def plan(host: DevHost, tmp_path: Path) -> ValidatorRun:
    return ValidatorRun(
        network=host.network,
        netuid=host.netuid,
        phrase="//Validator",
        url=f"sqlite:///{tmp_path / 'validator.sqlite'}",
        settings=SETTINGS,
    )


async def announce(host: DevHost, wallet: DevWallet, port: int) -> None:
    chain = host.chain(wallet)
    await chain.serve_axon("127.0.0.2", port)
    await chain.close()


def records(service: ValidatorService, kind: EvidenceKind) -> dict[str, Record]:
    return {r.miner: r for r in service.recorder.log.records() if r.kind is kind}


async def test_pays_the_proven_and_nobody_else(host: DevHost, tmp_path: Path) -> None:
    """An honest miner is paid on chain; hanging, babbling, garbling, forging, dead ones are not."""
    habits = [
        Habit.HONEST,
        Habit.HANGING,
        Habit.BABBLING,
        Habit.GARBLING,
        Habit.FORGING,
        Habit.STALLING,
    ]
    validator = host.registered("//Validator", stake=10_000)
    wallets = [host.registered(f"//Miner{index}") for index in range(len(habits))]
    dead = host.registered("//Dead")
    miners = [SimulatedMiner(w, habit=habit) for w, habit in zip(wallets, habits, strict=True)]
    async with serving(miners, view_of(validator.address)) as axons:
        for wallet, axon in zip(wallets, axons, strict=True):
            await announce(host, wallet, axon.port)
        await announce(host, dead, 9)
        async with validating(plan(host, tmp_path)) as service:
            await until(lambda: service.weights.latest_document() is not None)
            chain = host.chain(validator)
            await until(
                lambda: (
                    (entry := service.weights.latest_submission()) is not None
                    and entry.state.value == "confirmed"
                )
            )
            host.advance(11)
            graph = await chain.metagraph()
            await chain.close()
            specs, proofs = (
                records(service, kind) for kind in (EvidenceKind.SPECS, EvidenceKind.PROOF)
            )
    incentives = {n.hotkey: n.incentive for n in graph.neurons}
    assert incentives[wallets[0].address] == pytest.approx(1.0)
    assert all(incentives[w.address] == 0 for w in [*wallets[1:], dead])
    assert [specs[w.address].reason for w in wallets] == [
        Reason.OK,
        Reason.LATE,
        Reason.MALFORMED,
        Reason.OK,
        Reason.OK,
        Reason.OK,
    ]
    assert specs[dead.address].reason is Reason.UNREACHABLE
    assert proofs[wallets[0].address].outcome is Outcome.PASSED
    assert proofs[wallets[3].address].reason is Reason.MALFORMED
    assert proofs[wallets[4].address].reason is Reason.OPENING_FAILED
    assert proofs[wallets[5].address].reason is Reason.LATE
    assert wallets[1].address not in proofs
    assert dead.address not in proofs
