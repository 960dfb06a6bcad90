"""A validator that is killed again and again, at random points of its rounds, by SIGKILL.

`COMPUTE_KILLS` says how often; the issue's own figure is 100.
"""

import asyncio
import multiprocessing
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compute.adapters.chain.devchain import ChainParams, SubnetParams
from compute.domain.evidence import EvidenceKind, Outcome, Record, check_chain
from compute.domain.evidence import statement as evidence_statement
from compute.protocol.keys import signature_holds
from compute.settings.validation import (
    BoundSettings,
    CadenceSettings,
    DeadlineSettings,
    ValidationSettings,
)
from compute.storage.database import Role, open_database
from compute.storage.evidence import EvidenceLog
from compute.testing.axon import view_of
from compute.testing.chain import DevHost
from compute.testing.miners import Habit, SimulatedMiner, serving
from compute.testing.validating import ValidatorRun, small_classes, validate
from compute.validator.policies import load_policy
from compute.validator.replay import holds, replay

KILLS = int(os.environ.get("COMPUTE_KILLS", "8"))
TEMPO = 12
SETTINGS = ValidationSettings(
    policy="dev",
    poll_s=0.02,
    metagraph_every=1,
    weights_at=0.2,
    cadence=CadenceSettings(specs=6, proofs=8, jitter=2),
    deadline=DeadlineSettings(specs_s=1.0, setup_s=2.0),
    bound=BoundSettings(units=4),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DevHost:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    params = SubnetParams(tempo=TEMPO, weights_rate_limit=1, serving_rate_limit=0)
    return DevHost(tmp_path, params, ChainParams(block_s=0.15))


async def killed_often(run: ValidatorRun, times: int) -> None:
    """Start a validator, kill it at a random moment, again and again; end the last one kindly."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["compute.testing.validating"])
    chance = random.Random(7)  # noqa: S311 - the same moments each time
    for _ in range(times):
        process = context.Process(target=validate, args=(run,))
        process.start()
        await asyncio.sleep(chance.uniform(0.2, 1.6))
        process.kill()
        await asyncio.to_thread(process.join)
    last = context.Process(target=validate, args=(run,))
    last.start()
    await asyncio.sleep(3)
    last.terminate()
    await asyncio.to_thread(last.join, 10)
    assert last.exitcode == 0


def inclusions(host: DevHost, signer: str) -> list[int]:
    with sqlite3.connect(host.path) as connection:
        rows = connection.execute(
            "SELECT block, call FROM extrinsics WHERE signer = ? AND error IS NULL", (signer,)
        ).fetchall()
    return [block for block, call in rows if "weights" in call]


def epochs(run: ValidatorRun) -> list[tuple[int, str]]:
    with sqlite3.connect(run.url.removeprefix("sqlite:///")) as connection:
        return connection.execute(
            "SELECT epoch_block, state FROM submission ORDER BY epoch_block"
        ).fetchall()


def check_receipts(record: Record) -> None:
    for receipt in record.receipts:
        lines = (
            "receipt/1",
            str(receipt.status),
            receipt.body_sha256,
            receipt.nonce,
            receipt.caller,
            receipt.callee,
        )
        signature = bytes.fromhex(receipt.signature)
        message = "\n".join(lines).encode()
        assert signature_holds(message, signature, record.miner, receipt.scheme)


async def test_nothing_is_counted_twice_or_invented(host: DevHost, tmp_path: Path) -> None:
    """However often it is killed: each measurement once, each signed, one vector set an epoch."""
    validator = host.registered("//Validator", stake=10_000)
    habits = [Habit.HONEST, Habit.HONEST, Habit.HANGING, Habit.FORGING]
    miners = [
        SimulatedMiner(host.registered(f"//Miner{index}"), habit=habit)
        for index, habit in enumerate(habits)
    ]
    run = ValidatorRun(
        network=host.network,
        netuid=host.netuid,
        phrase="//Validator",
        url=f"sqlite:///{tmp_path / 'validator.sqlite'}",
        settings=SETTINGS,
        classes=small_classes(),
    )
    async with serving(miners, view_of(validator.address)) as axons:
        for miner, axon in zip(miners, axons, strict=True):
            chain = host.chain(miner.wallet)
            await chain.serve_axon("127.0.0.2", axon.port)
            await chain.close()
        await killed_often(run, KILLS)

    engine = open_database(run.url, Role.VALIDATOR)
    key: Any = validator.hotkey
    log = list(check_chain(EvidenceLog(engine, key, host.netuid).records(), holds))
    assert max(Counter(record.key for record in log).values()) == 1
    passed = [r for r in log if r.outcome is Outcome.PASSED and r.miner]
    assert passed
    for record in passed:
        assert record.receipts
        check_receipts(record)
    asked = sum(miner.asked for miner in miners)
    assert len(passed) <= asked

    vectors = list(replay(log, load_policy("dev")))
    assert vectors
    assert all(each.same and each.complete for each in vectors)
    own, sent = epochs(run), inclusions(host, key.ss58_address)
    assert sent
    starts = [block for block, _ in own]
    per_epoch = Counter(max(s for s in starts if s <= block) for block in sent)
    assert set(per_epoch.values()) == {1}
    assert {state for _, state in own[:-1]} <= {"confirmed", "missed"}
    assert signature_holds(
        evidence_statement(log[-1].hash, host.netuid),
        bytes.fromhex(log[-1].signature),
        key.ss58_address,
        "sr25519",
    )
    assert {r.round for r in log if r.kind is EvidenceKind.WEIGHTS} == {
        f"weights-{block}" for block in starts
    }
