"""Publishing, serving and submitting vectors, on the development chain and over real HTTP."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Engine

from compute.adapters.chain import SdkChain
from compute.adapters.chain.devchain import SubnetParams
from compute.domain import publication
from compute.domain.measurement import U16, Snapshot
from compute.domain.publication import Publication
from compute.domain.vector import address
from compute.errors import ChainError, Code, PeerError
from compute.ports.chain import Chain, WeightsReceipt
from compute.settings.validation import ValidationSettings
from compute.storage.database import Role, open_database
from compute.storage.evidence_weights import SubmissionState, WeightsStore
from compute.testing.chain import DevHost, DevWallet
from compute.validator.api.app import create_app
from compute.validator.api.server import serving
from compute.validator.api.weights import weights_router
from compute.validator.chainview import ChainView
from compute.validator.replay import holds
from compute.validator.sending import MOST_WAIT_BLOCKS, SETTLE_BLOCKS, Sender
from compute.validator.shelf import WeightsShelf
from compute.validator.submitter import HttpSource, SubmitterParts, SubmitterService, check

TEMPO = 100
SETTINGS = ValidationSettings(poll_s=0.01, metagraph_every=1, weights_at=0.0)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DevHost:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    params = SubnetParams(tempo=TEMPO, weights_rate_limit=5, serving_rate_limit=0)
    host = DevHost(tmp_path, params)
    host.advance(TEMPO + 20)
    return host


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path / 'validator.sqlite'}", Role.VALIDATOR)


class Flaky:
    """A real chain behind a line that can be cut, before or after a transaction got through."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.cut_before = 0
        self.cut_after = 0
        self.refuse = 0
        self.taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chain, name)

    async def set_weights(self, weights: Mapping[int, float], version_key: int) -> WeightsReceipt:
        """Set weights, if the line holds."""
        if self.cut_before:
            self.cut_before -= 1
            raise ChainError(Code.CHAIN_AWAY)
        if self.refuse:
            self.refuse -= 1
            raise ChainError(Code.CHAIN_REFUSED, "not today")
        receipt = await self.chain.set_weights(weights, version_key)
        self.taken += 1
        if self.cut_after:
            self.cut_after -= 1
            raise ChainError(Code.CHAIN_AWAY)
        return receipt


def publish(
    wallet: DevWallet, epoch_block: int, vector: dict[int, int], **more: Any
) -> Publication:
    snapshot = Snapshot(netuid=more.get("netuid", 1), block=epoch_block, epoch_block=epoch_block)
    policy = "0" * 64
    unsigned = Publication(
        netuid=snapshot.netuid,
        sha256=address(vector, snapshot, policy),
        vector={str(uid): weight for uid, weight in vector.items()},
        epoch_block=epoch_block,
        block=more.get("block", epoch_block),
        policy="test",
        policy_sha256=policy,
        evidence_seq=1,
        evidence_hash="0" * 64,
        validator=wallet.address,
        created_ms=0,
    )
    key: Any = wallet.hotkey
    return publication.sign(unsigned, key.sign)


class Paying:
    """A sender on a chain whose blocks pass when the test says so."""

    def __init__(self, host: DevHost, engine: Engine, params: SubnetParams | None = None) -> None:
        if params is not None:
            host.provision.set_params(host.netuid, params)
        self.host = host
        self.validator = host.registered("//Validator", stake=10_000)
        host.registered("//Miner")
        host.advance(2 * TEMPO)
        self.chain = Flaky(SdkChain(host.network, host.netuid, self.validator))
        self.view = ChainView(self.chain, poll_s=1)
        self.store = WeightsStore(engine)
        self.sender = self.restarted()

    def restarted(self) -> Sender:
        """A sender that knows only what was written down."""
        return Sender(self.chain, self.view, self.store, self.validator.address)

    async def step(self) -> SubmissionState | None:
        """What the paymaster does in one block, with a vector that pays UID 1."""
        await self.view.look(fresh=True)
        graph = self.view.metagraph
        epoch = graph.block - graph.blocks_since_epoch
        entry = await self.sender.submission(epoch)
        if entry is None:
            if not await self.sender.free(graph, epoch):
                return None
            entry = await self.sender.plan(epoch, publish(self.validator, epoch, {1: U16}))
        return (await self.sender.advance(entry, graph)).state

    async def steps(self, blocks: int) -> list[SubmissionState | None]:
        """One step in each of so many blocks."""
        states = []
        for _ in range(blocks):
            states.append(await self.step())
            self.host.advance(1)
        return states


async def test_confirmed_once_an_epoch(host: DevHost, engine: Engine) -> None:
    """Weights go out once an epoch and are seen on chain; later blocks of it send nothing."""
    paying = Paying(host, engine)
    states = await paying.steps(20)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    host.advance(TEMPO)
    await paying.steps(3)
    assert paying.chain.taken == 2
    await paying.chain.close()


async def test_commit_reveal_is_confirmed_alike(host: DevHost, engine: Engine) -> None:
    """Where the subnet wants sealed weights, the commit counts as the epoch's one inclusion."""
    params = SubnetParams(
        tempo=TEMPO, weights_rate_limit=5, serving_rate_limit=0, commit_reveal=True
    )
    paying = Paying(host, engine, params)
    states = await paying.steps(20)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    await paying.chain.close()


async def test_missing_metagraph_stops_nothing_for_good(host: DevHost, engine: Engine) -> None:
    """While the chain has no such subnet nothing is sent; when it is back, weights go out."""
    paying = Paying(host, engine)
    whole, missing = paying.chain.chain.metagraph, ChainError(Code.SUBNET_MISSING, "gone")

    async def gone() -> None:
        raise missing

    paying.chain.chain.metagraph = gone  # type: ignore[method-assign,assignment]
    assert not await paying.view.look(fresh=True)
    assert paying.view.away
    with pytest.raises(ChainError):
        _ = paying.view.metagraph
    paying.chain.chain.metagraph = whole  # type: ignore[method-assign]
    assert (await paying.steps(20))[-1] is SubmissionState.CONFIRMED
    await paying.chain.close()


async def test_lost_answer_sends_nothing_twice(host: DevHost, engine: Engine) -> None:
    """The chain took the weights but its answer was lost: they are found there, not sent again."""
    paying = Paying(host, engine)
    paying.chain.cut_after = 1
    assert await paying.step() is SubmissionState.SENT
    paying.sender = paying.restarted()
    states = await paying.steps(SETTLE_BLOCKS + MOST_WAIT_BLOCKS)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    await paying.chain.close()


async def test_lost_transaction_is_sent_again(host: DevHost, engine: Engine) -> None:
    """What never reached the chain is sent again, once it can be taken to be lost."""
    paying = Paying(host, engine)
    paying.chain.cut_before = 1
    states = await paying.steps(SETTLE_BLOCKS)
    assert set(states) == {SubmissionState.SENT}
    states = await paying.steps(2 * MOST_WAIT_BLOCKS)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    await paying.chain.close()


async def test_rejections_are_retried_with_growing_waits(host: DevHost, engine: Engine) -> None:
    """A refusal is retried a few blocks later, and each further one later still."""
    paying = Paying(host, engine)
    paying.chain.refuse = 3
    states = await paying.steps(60)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    assert (entry := paying.store.latest_submission()) is not None
    assert entry.attempts == 4
    await paying.chain.close()


async def test_refused_epoch_is_missed_and_the_next_goes_on(host: DevHost, engine: Engine) -> None:
    """An epoch in which the chain takes nothing is written off; the next one is paid."""
    paying = Paying(host, engine)
    paying.chain.refuse = 10_000
    await paying.steps(10)
    host.advance(TEMPO)
    paying.chain.refuse = 0
    states = await paying.steps(30)
    assert states[-1] is SubmissionState.CONFIRMED
    assert paying.chain.taken == 1
    await paying.chain.close()


async def test_registration_counts_as_no_weights(host: DevHost, engine: Engine) -> None:
    """The chain sets `last_update` at registration: that is not mistaken for an inclusion."""
    paying = Paying(host, engine)
    late = host.registered("//Late", stake=10_000)
    chain = Flaky(SdkChain(host.network, host.netuid, late))
    paying.validator, paying.chain = late, chain
    paying.view = ChainView(chain, poll_s=1)
    paying.sender = paying.restarted()
    assert await paying.step() is SubmissionState.PLANNED
    await paying.steps(12)
    assert chain.taken <= 1
    assert (chain.taken == 1) == (paying.store.latest_submission().state == "confirmed")
    await chain.close()


# --- The weights API and the submitter -----------------------------------------------------------


async def test_api_serves_the_vector_with_its_tag(host: DevHost, engine: Engine) -> None:
    """Latest and by address give the same signed bytes; an unchanged one is not sent again."""
    validator, store = host.registered("//Validator"), WeightsStore(engine)
    shelf = WeightsShelf(store)
    vector = publish(validator, 100, {1: U16, 2: 7})
    async with (
        serving(create_app(weights_router(shelf)), "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        async with client.get("/v1/weights/latest") as answer:
            assert answer.status == 404
            assert (await answer.json(content_type=None))["code"] == "not_found"
        store.plan(100, vector.sha256, vector.model_dump_json())
        async with client.get("/v1/weights/latest") as answer:
            body, tag = await answer.read(), answer.headers["ETag"]
        async with client.get(f"/v1/weights/{vector.sha256}") as answer:
            assert await answer.read() == body
            assert "immutable" in answer.headers["Cache-Control"]
        async with client.get("/v1/weights/latest", headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        for bad, status in ((f"/v1/weights/{'f' * 64}", 404), ("/v1/weights/xyz", 422)):
            async with client.get(bad) as answer:
                assert answer.status == status
    assert publication.read(body, holds) == vector


def test_changed_publication_is_refused(host: DevHost) -> None:
    """A vector whose weights, netuid or signer were changed on the way does not hold."""
    vector = publish(host.registered("//Validator"), 100, {1: U16})
    other = publish(host.registered("//Other"), 100, {1: U16})
    for change in (
        {"vector": {"2": U16}},
        {"netuid": 9},
        {"block": 101},
        {"validator": other.validator},
        {"signature": other.signature},
    ):
        with pytest.raises(PeerError):
            publication.read(vector.model_copy(update=change).model_dump_json(), holds)


async def test_submitter_checks_what_it_fetched(host: DevHost) -> None:
    """Another subnet's vector, a stranger's, an old one or one for unknown UIDs is not set."""
    validator = host.registered("//Validator", stake=10_000)
    stranger = host.registered("//Stranger")
    host.advance(3 * TEMPO)
    chain = SdkChain(host.network, host.netuid, validator)
    graph = await chain.metagraph()
    await chain.close()
    epoch = graph.block - graph.blocks_since_epoch
    check(publish(validator, epoch, {1: U16}), graph)
    check(publish(stranger, epoch, {1: U16}), graph, master=stranger.address)
    for vector, master in (
        (publish(stranger, epoch, {1: U16}), ""),
        (publish(validator, epoch, {1: U16}), stranger.address),
        (publish(validator, epoch, {1: U16}, netuid=2), ""),
        (publish(validator, epoch - 3 * TEMPO, {1: U16}), ""),
        (publish(validator, epoch, {77: U16}), ""),
        (publish(validator, epoch, {}), ""),
    ):
        with pytest.raises(PeerError):
            check(vector, graph, master)


async def test_submitter_sets_the_masters_vector(host: DevHost, tmp_path: Path) -> None:
    """It waits while the master is away, then sets its vector with the submitter's own hotkey."""
    master = host.registered("//Master", stake=10_000)
    submitter = host.registered("//Submitter", stake=10_000)
    host.registered("//Miner")
    host.advance(2 * TEMPO)
    store = WeightsStore(open_database(f"sqlite:///{tmp_path / 'master.sqlite'}", Role.VALIDATOR))
    engine = open_database(f"sqlite:///{tmp_path / 'submitter.sqlite'}", Role.VALIDATOR)
    chain = SdkChain(host.network, host.netuid, submitter)
    graph = await chain.metagraph()
    epoch = graph.block - graph.blocks_since_epoch
    app = create_app(weights_router(WeightsShelf(store)))
    async with serving(app, "127.0.0.1", 0) as port:
        pass
    service = SubmitterService(
        SubmitterParts(
            chain=chain,
            source=HttpSource(f"http://127.0.0.1:{port}"),
            engine=engine,
            hotkey=submitter.address,
            settings=SETTINGS,
        )
    )
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    await asyncio.sleep(0.2)
    assert service.weights.latest_submission() is None
    vector = publish(master, epoch, {2: U16})
    store.plan(epoch, vector.sha256, vector.model_dump_json())
    async with serving(app, "127.0.0.1", port), asyncio.timeout(20):
        while (entry := service.weights.latest_submission()) is None or entry.state != "confirmed":
            host.advance(1)
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert entry.vector == vector.sha256
    own = (await chain.metagraph()).neuron(submitter.address)
    assert own is not None
    assert own.last_update == entry.included_block
    await chain.close()
