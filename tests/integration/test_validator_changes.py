"""What changes while a validator works: miners move, challenges fail, the chain goes away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.domain.book import MinerBook
from compute.domain.evidence import EvidenceKind, Outcome, Reason
from compute.domain.measurement import ProofContent, ScoresContent
from compute.errors import UsageError
from compute.settings.validation import (
    BoundSettings,
    CadenceSettings,
    DeadlineSettings,
    ValidationSettings,
)
from compute.testing.axon import view_of
from compute.testing.chain import DevHost, DevWallet
from compute.testing.miners import SimulatedMiner, gpu, serving
from compute.testing.validating import ValidatorRun, small_classes, validating
from compute.validator.challenges import sources_of

POLICY = """
version = 1
name = "two"
revision = 1
[window]
blocks = 5000
specs_age = 500
proof_age = 500
cooldown = 100
half_life = 500
[duplicates]
address = "endpoint"
[challenges.compute]
share = 500000
[challenges.poems]
share = 500000
max_age = 500
[challenges.broken]
share = 500000
max_age = 500
[rates]
cpu-dev = 1000000
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DevHost:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    params = SubnetParams(tempo=15, weights_rate_limit=1, serving_rate_limit=0)
    return DevHost(tmp_path, params, ChainParams(block_s=0.15))


def run_of(host: DevHost, tmp_path: Path, *challenges: str, policy: str = "dev") -> ValidatorRun:
    return ValidatorRun(
        network=host.network,
        netuid=host.netuid,
        phrase="//Validator",
        url=f"sqlite:///{tmp_path / 'validator.sqlite'}",
        settings=ValidationSettings(
            policy=policy,
            poll_s=0.02,
            metagraph_every=1,
            weights_at=0.0,
            challenges=challenges,
            cadence=CadenceSettings(specs=6, proofs=6, scores=6, jitter=0),
            deadline=DeadlineSettings(specs_s=1.0, setup_s=2.0),
            bound=BoundSettings(units=4),
        ),
        classes=small_classes(),
    )


async def announce(host: DevHost, wallet: DevWallet, port: int) -> None:
    chain = host.chain(wallet)
    await chain.serve_axon("127.0.0.2", port)
    await chain.close()


async def until(look: Callable[[], Awaitable[bool] | bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            seen = look()
            if seen is True or (not isinstance(seen, bool) and await seen):
                return
            await asyncio.sleep(0.02)


async def test_miner_that_moves_is_followed(
    host: DevHost, tmp_path: Path, database_url: str
) -> None:
    """A miner that changes its address is measured at the new one and goes on being paid.

    So it is whatever database the validator keeps its evidence in.
    """
    validator = host.registered("//Validator", stake=10_000)
    miner = SimulatedMiner(host.registered("//Miner"))
    view = view_of(validator.address)
    async with validating(replace(run_of(host, tmp_path), url=database_url)) as service:

        def proven_at(port: int) -> Callable[[], bool]:
            def look() -> bool:
                return any(
                    ProofContent.model_validate(record.content).address == f"127.0.0.2:{port}"
                    for record in service.recorder.log.records()
                    if record.kind is EvidenceKind.PROOF and record.outcome is Outcome.PASSED
                )

            return look

        async with serving([miner], view) as (first,):
            await announce(host, miner.wallet, first.port)
            await until(proven_at(first.port))
        async with serving([miner], view) as (second,):
            await announce(host, miner.wallet, second.port)
            await until(proven_at(second.port))
            chain = host.chain(validator)

            async def earns() -> bool:
                return (await chain.metagraph()).neurons[1].incentive > 0

            await until(earns)
            await chain.close()


async def test_free_gpus_of_a_partly_leased_miner_are_proven(host: DevHost, tmp_path: Path) -> None:
    """What is leased through others is left out of a proof, and counts as it was proven before."""
    validator = host.registered("//Validator", stake=10_000)
    gpus = tuple(gpu(f"GPU-{index}", "NVIDIA L4", index=index) for index in range(3))
    miner = SimulatedMiner(host.registered("//Miner"), gpus)
    hotkey = miner.wallet.address
    async with (
        validating(run_of(host, tmp_path)) as service,
        serving([miner], view_of(validator.address)) as (axon,),
    ):

        def book() -> MinerBook:
            return service.recorder.book.miner(hotkey)

        def proof() -> dict[str, Reason]:
            found = book().proof(0)
            return {each.gpu: each.reason for each in found.gpus} if found else {}

        def proven(*reasons: Reason) -> dict[str, Reason]:
            return {each.uuid: reason for each, reason in zip(gpus, reasons, strict=True)}

        await announce(host, miner.wallet, axon.port)
        await until(lambda: proof() == proven(Reason.OK, Reason.OK, Reason.OK))
        miner.leased = frozenset({"GPU-1"})
        await until(lambda: proof() == proven(Reason.OK, Reason.BUSY, Reason.OK))
        shown = book().shown(0, 0)
        assert {each.gpu for each in shown if each.credit_ppm} == {each.uuid for each in gpus}
        miner.leased = frozenset()
        await until(lambda: proof() == proven(Reason.OK, Reason.OK, Reason.OK))
        outcomes = {
            record.outcome
            for record in service.recorder.log.records()
            if record.kind is EvidenceKind.PROOF
        }
        assert outcomes == {Outcome.PASSED}


async def test_failing_challenges_blank_nobody(host: DevHost, tmp_path: Path) -> None:
    """Of two other challenges one works and one answers nonsense: all who earned are paid."""
    validator = host.registered("//Validator", stake=10_000)
    miner = SimulatedMiner(host.registered("//Miner"))
    poet = host.registered("//Poet")

    async def poems(_request: web.Request) -> web.Response:
        return web.json_response({"scores": {poet.address: 7, "5Nobody": 9}, "comment": "fine"})

    async def nonsense(_request: web.Request) -> web.Response:
        return web.json_response({"scores": {poet.address: 0.5}})

    app = web.Application()
    app.router.add_get("/poems", poems)
    app.router.add_get("/broken", nonsense)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    policy = tmp_path / "two.toml"
    policy.write_text(POLICY)
    run = run_of(host, tmp_path, f"poems={base}/poems", f"broken={base}/broken", policy=str(policy))
    async with serving([miner], view_of(validator.address)) as (axon,), validating(run) as service:
        await announce(host, miner.wallet, axon.port)
        # The poet serves nothing: only its own challenge knows it.
        chain = host.chain(validator)

        async def both_earn() -> bool:
            return all(n.incentive > 0.3 for n in (await chain.metagraph()).neurons[1:])

        await until(both_earn)
        await chain.close()
        taken = [
            ScoresContent.model_validate(record.content)
            for record in service.recorder.log.records()
            if record.kind is EvidenceKind.SCORES
        ]
    await runner.cleanup()
    assert {each.challenge for each in taken} == {"poems"}


@pytest.mark.parametrize("pair", ["poems", "=http://x", "poems=ftp://x", "compute=http://x", "A=x"])
def test_challenge_that_is_none_is_refused(pair: str) -> None:
    """A challenge is a name and an address, and not our own."""
    with pytest.raises(UsageError):
        sources_of([pair])
