"""Everything that the product does with a chain, and every refusal that it can meet.

The same tests hold for the development chain and for any other host that `--chain-factory` or
`COMPUTE_CHAIN_FACTORY` names. Everything goes through the real SDK.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import bittensor as bt
import pytest

from compute.adapters.chain import SdkChain, open_client
from compute.adapters.chain.devchain import SubnetParams
from compute.domain.metagraph import Neuron
from compute.errors import ChainError, Code
from compute.testing.chain import ChainHost, DevWallet

RULES = SubnetParams(tempo=10, weights_rate_limit=3, serving_rate_limit=4)
STAKE = 10_000.0
NO_SUBNET = 999

MakeHost = Callable[[SubnetParams], ChainHost]


@asynccontextmanager
async def joined(host: ChainHost, wallet: DevWallet) -> AsyncIterator[SdkChain]:
    """What a neuron with this wallet sees."""
    chain = SdkChain(host.network, host.netuid, wallet)
    try:
        yield chain
    finally:
        await chain.close()


async def register(host: ChainHost, phrase: str, *, stake: float = 0.0) -> DevWallet:
    """A wallet that has bought its UID as anybody does."""
    wallet = host.wallet(phrase)
    async with open_client(host.network) as client:
        result = await client.execute(bt.BurnedRegister(netuid=host.netuid), wallet)
    result.raise_for_failure()
    if stake:
        host.stake(wallet, stake)
    return wallet


async def see(host: ChainHost, wallet: DevWallet) -> Neuron:
    """The wallet's row of the metagraph."""
    async with joined(host, wallet) as chain:
        neuron = (await chain.metagraph()).neuron(wallet.address)
    assert neuron is not None
    return neuron


async def validator_and_miner(host: ChainHost) -> tuple[DevWallet, DevWallet]:
    """A staked validator that holds a permit, and a miner."""
    validator = await register(host, "//Alice", stake=STAKE)
    miner = await register(host, "//Bob")
    host.advance(RULES.tempo + 1)
    return validator, miner


async def balance(host: ChainHost, wallet: DevWallet) -> int:
    """The coldkey's free rao."""
    async with open_client(host.network) as client:
        free = await client.balances.get(wallet.coldkey.ss58_address)
    return int(free.rao)


def refused(code: Code, text: str = "") -> "pytest.RaisesExc[ChainError]":
    """Expects a chain error of this code whose detail holds the text."""
    return pytest.RaisesExc(
        ChainError, check=lambda error: error.code is code and text in error.detail
    )


# Registering -----------------------------------------------------------------------------


async def test_registering_gives_uids_in_order_and_costs_the_burn(host: ChainHost):
    """A coldkey buys UIDs, one after the other, and pays for each."""
    alice = host.wallet("//Alice")
    before = await balance(host, alice)
    await register(host, "//Bob")
    async with open_client(host.network) as client:
        burn = await client.subnets.burn(host.netuid)
        await client.execute(bt.BurnedRegister(netuid=host.netuid), alice)
        uid = await client.neurons.uid(alice.address, host.netuid)
    one, other = await see(host, alice), await see(host, DevWallet("//Bob"))
    assert one.uid == uid == other.uid + 1
    assert one.coldkey == alice.coldkey.ss58_address
    assert await balance(host, alice) <= before - burn.rao


async def test_a_hotkey_registers_only_once(host: ChainHost):
    """The second registration of a hotkey fails with the chain's own name for it."""
    alice = await register(host, "//Alice")
    async with open_client(host.network) as client:
        result = await client.execute(bt.BurnedRegister(netuid=host.netuid), alice)
    assert not result.success
    assert result.error.name == "HotKeyAlreadyRegisteredInSubNet"


async def test_a_newcomer_has_nothing_yet(host: ChainHost):
    """A fresh neuron has no axon, no permit and no incentive."""
    fresh = await see(host, await register(host, "//Alice", stake=STAKE))
    assert (fresh.axon, fresh.validator_permit, fresh.incentive) == (None, False, 0.0)
    assert fresh.stake == pytest.approx(STAKE)


# Serving and finding -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "axon"),
    [
        ("127.0.0.2", "127.0.0.2:8091"),
        ("203.0.113.7", "203.0.113.7:8091"),
        ("2001:db8::7", "[2001:db8::7]:8091"),
    ],
)
async def test_peers_find_an_axon_where_it_was_served(host: ChainHost, ip: str, axon: str):
    """What one neuron announces, another one reads."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        await chain.serve_axon(ip, 8091)
    async with joined(host, await register(host, "//Alice")) as chain:
        peers = {neuron.hotkey: neuron.axon for neuron in (await chain.metagraph()).neurons}
    assert peers == {miner.address: axon, DevWallet("//Alice").address: None}


async def test_an_axon_on_this_host_is_refused(host: ChainHost):
    """Exactly 127.0.0.1 is no address for an axon."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        with refused(Code.CHAIN_REFUSED, "InvalidIpAddress"):
            await chain.serve_axon("127.0.0.1", 8091)
    assert (await see(host, miner)).axon is None


async def test_serving_the_same_again_costs_nothing(host: ChainHost):
    """What the chain already says is not announced again, so no limit can be hit."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        await chain.serve_axon("127.0.0.2", 8091)
        before = await balance(host, miner)
        await chain.serve_axon("127.0.0.2", 8091)
    assert await balance(host, miner) == before


async def test_moving_an_axon_waits_for_the_limit(host: ChainHost):
    """A new address is refused inside the serving limit and taken after it."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        await chain.serve_axon("127.0.0.2", 8091)
        with refused(Code.CHAIN_RATE_LIMITED):
            await chain.serve_axon("127.0.0.2", 8092)
        host.advance(RULES.serving_rate_limit)
        await chain.serve_axon("127.0.0.2", 8092)
    assert (await see(host, miner)).axon == "127.0.0.2:8092"


async def test_a_certificate_is_published_changed_and_taken_back(host: ChainHost):
    """Others read an axon's fingerprint beside its address, and none once it is plain again."""
    miner = await register(host, "//Bob")
    pins = [b"\x01" * 32, b"\x02" * 32, None]
    async with joined(host, miner) as chain:
        for pin in pins:
            await chain.serve_axon("127.0.0.2", 8091, pin)
            found = await see(host, miner)
            assert (found.axon, found.certificate_sha256) == ("127.0.0.2:8091", pin)
            before = await balance(host, miner)
            await chain.serve_axon("127.0.0.2", 8091, pin)
            assert await balance(host, miner) == before
            host.advance(RULES.serving_rate_limit)


# Weights and epochs --------------------------------------------------------------------------


async def test_weights_that_were_set_pay_after_the_epoch(host: ChainHost):
    """Set weights become incentive in their proportion, and the validator earns dividends."""
    validator, miner = await validator_and_miner(host)
    second = await register(host, "//Charlie")
    host.advance(RULES.weights_rate_limit)
    uids = [(await see(host, one)).uid for one in (miner, second)]
    async with joined(host, validator) as chain:
        receipt = await chain.set_weights({uids[0]: 3.0, uids[1]: 1.0}, 0)
        block = await chain.block()
    assert receipt.reveal_round is None
    assert receipt.block is not None
    assert receipt.block <= block
    assert (await see(host, validator)).last_update == receipt.block
    host.advance(RULES.tempo + 1)
    assert (await see(host, miner)).incentive == pytest.approx(0.75, abs=1e-3)
    assert (await see(host, second)).incentive == pytest.approx(0.25, abs=1e-3)
    assert (await see(host, validator)).dividends == pytest.approx(1.0, abs=1e-3)


async def test_weights_are_limited_from_registration_on(host: ChainHost):
    """A newcomer has to wait for the weights limit before setting any, however old the chain."""
    host.advance(RULES.weights_rate_limit)
    validator = await register(host, "//Alice", stake=STAKE)
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_RATE_LIMITED):
            await chain.set_weights({0: 1.0}, 0)


async def test_a_permit_comes_only_with_an_epoch(host: ChainHost):
    """Stake alone lets nobody set weights; the epoch after it does."""
    validator = await register(host, "//Alice", stake=STAKE)
    miner = await register(host, "//Bob")
    uid = (await see(host, miner)).uid
    host.advance(RULES.weights_rate_limit)
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_REFUSED, "NeuronNoValidatorPermit"):
            await chain.set_weights({uid: 1.0}, 0)
        host.advance(RULES.tempo)
        assert (await see(host, validator)).validator_permit
        assert not (await see(host, miner)).validator_permit
        await chain.set_weights({uid: 1.0}, 0)


async def test_setting_weights_twice_waits_for_the_limit(host: ChainHost):
    """The limit counts from the last weights."""
    validator, miner = await validator_and_miner(host)
    uid = (await see(host, miner)).uid
    async with joined(host, validator) as chain:
        await chain.set_weights({uid: 1.0}, 0)
        with refused(Code.CHAIN_RATE_LIMITED):
            await chain.set_weights({uid: 1.0}, 0)
        host.advance(RULES.weights_rate_limit)
        await chain.set_weights({uid: 1.0}, 0)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({}, "zero"),
        ({1: 0.0}, "zero"),
        ({1: math.nan}, "finite"),
        ({1: -1.0}, "non-negative"),
        ({60_000: 1.0}, "UidVecContainInvalidOne"),
    ],
)
async def test_impossible_weights_are_refused(
    host: ChainHost, weights: dict[int, float], reason: str
):
    """Weights that say nothing, or speak of nobody, are refused with the reason."""
    validator, _ = await validator_and_miner(host)
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_REFUSED, reason):
            await chain.set_weights(weights, 0)


async def test_too_few_weights_are_refused(make_host: MakeHost):
    """A subnet may ask for a least number of weights."""
    host = make_host(RULES.model_copy(update={"min_allowed_weights": 2}))
    validator, _ = await validator_and_miner(host)
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_REFUSED, "at least 2"):
            await chain.set_weights({1: 1.0}, 0)


async def test_large_weights_are_clipped_to_the_subnet_limit(make_host: MakeHost):
    """Where the subnet limits a single weight, what is set obeys it."""
    host = make_host(RULES.model_copy(update={"max_weights_limit": 39_321}))  # 60 %
    validator, miner = await validator_and_miner(host)
    uids = [(await see(host, one)).uid for one in (miner, await register(host, "//Charlie"))]
    async with joined(host, validator) as chain:
        await chain.set_weights({uids[0]: 9.0, uids[1]: 1.0}, 0)
    async with open_client(host.network) as client:
        rows = await client.weights.weights(host.netuid)
    row = rows[(await see(host, validator)).uid]
    assert row[uids[0]] == pytest.approx(0.6, abs=1e-3)


async def test_an_outdated_version_key_is_refused(make_host: MakeHost):
    """Weights of a validator that is older than the subnet asks for are refused."""
    host = make_host(RULES.model_copy(update={"weights_version": 7}))
    validator, miner = await validator_and_miner(host)
    uid = (await see(host, miner)).uid
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_REFUSED, "IncorrectWeightVersionKey"):
            await chain.set_weights({uid: 1.0}, 6)
        host.advance(RULES.weights_rate_limit)
        await chain.set_weights({uid: 1.0}, 7)


async def test_sealed_weights_say_when_they_open(make_host: MakeHost):
    """Where the subnet wants commit-reveal, weights are sealed and the receipt names the round."""
    host = make_host(RULES.model_copy(update={"commit_reveal": True}))
    validator, miner = await validator_and_miner(host)
    uid = (await see(host, miner)).uid
    async with joined(host, validator) as chain:
        receipt = await chain.set_weights({uid: 1.0}, 0)
    assert receipt.reveal_round is not None
    assert receipt.reveal_round > bt.timelock.current_round() - 10
    async with open_client(host.network) as client:
        waiting = await client.weights.timelocked_weight_commits(host.netuid)
        assert not await client.weights.weights(host.netuid)
    assert [one["hotkey"] for commits in waiting.values() for one in commits] == [validator.address]
    assert (await see(host, validator)).last_update == receipt.block


# Commitments -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"hello", b"\x00\xff" * 64, b"x"])
async def test_a_commitment_is_read_as_it_was_published(host: ChainHost, data: bytes):
    """Bytes come back the same, for anybody who asks."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        assert await chain.commitment(miner.address) is None
        await chain.commit(data)
    async with joined(host, host.wallet("//Alice")) as chain:
        assert await chain.commitment(miner.address) == data


async def test_a_later_commitment_replaces_the_earlier(host: ChainHost):
    """Only the last commitment counts."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        await chain.commit(b"one")
        await chain.commit(b"two")
        assert await chain.commitment(miner.address) == b"two"


async def test_a_commitment_has_a_largest_size(host: ChainHost):
    """More than 128 bytes are refused before anything is sent."""
    miner = await register(host, "//Bob")
    async with joined(host, miner) as chain:
        with refused(Code.CHAIN_REFUSED, "128"):
            await chain.commit(bytes(129))


# Refusals that all of them share -----------------------------------------------------------


async def test_an_unregistered_hotkey_can_do_nothing(host: ChainHost):
    """Serving, weighting and committing all say that the hotkey is not registered."""
    async with joined(host, host.wallet("//Nobody")) as chain:
        with refused(Code.NOT_REGISTERED):
            await chain.serve_axon("127.0.0.2", 8091)
        with refused(Code.NOT_REGISTERED):
            await chain.set_weights({0: 1.0}, 0)
        with refused(Code.NOT_REGISTERED):
            await chain.commit(b"hello")


async def test_the_sdk_itself_says_that_a_hotkey_is_not_registered(host: ChainHost):
    """The SDK's own preflight and the chain's own refusal agree on the reason."""
    nobody = host.wallet("//Nobody")
    async with open_client(host.network) as client:
        with pytest.raises(bt.ChainError) as preflight:
            await client.execute(bt.SetWeights(netuid=host.netuid, weights={0: 1.0}), nobody)
        served = await client.execute(
            bt.ServeAxon(netuid=host.netuid, ip="127.0.0.2", port=1), nobody
        )
        uid = await client.neurons.uid(nobody.address, host.netuid)
    assert preflight.value.code is served.error.code is bt.ErrorCode.NOT_REGISTERED
    assert uid is None


async def test_a_missing_subnet_is_told_apart(host: ChainHost):
    """Where there is no subnet, everything says so."""
    wallet = await register(host, "//Alice")
    chain = SdkChain(host.network, NO_SUBNET, wallet)
    with refused(Code.SUBNET_MISSING):
        await chain.metagraph()
    with refused(Code.SUBNET_MISSING):
        await chain.serve_axon("127.0.0.2", 8091)
    with refused(Code.SUBNET_MISSING):
        await chain.set_weights({0: 1.0}, 0)
    await chain.close()


async def test_a_failed_call_is_paid_for_and_counts_for_the_limit(host: ChainHost):
    """A call that fails in its block costs the fee and uses up the rate limit."""
    validator, miner = await validator_and_miner(host)
    uid = (await see(host, miner)).uid
    before = await balance(host, validator)
    async with joined(host, validator) as chain:
        with refused(Code.CHAIN_REFUSED, "UidVecContainInvalidOne"):
            await chain.set_weights({60_000: 1.0}, 0)
        assert await balance(host, validator) < before
        with refused(Code.CHAIN_RATE_LIMITED):
            await chain.set_weights({uid: 1.0}, 0)


async def test_a_nonce_is_used_once(host: ChainHost):
    """A second transaction with the same nonce gets into no block."""
    miner = await register(host, "//Bob")
    async with open_client(host.network) as client:
        substrate = client._substrate
        info = {"fields": [[{"Raw1": "0x61"}]]}
        call = await client.compose(
            bt.calls.Commitments.set_commitment(netuid=host.netuid, info=info)
        )
        nonce = await substrate.account_next_index(miner.address)
        first = await substrate.submit(call, miner.hotkey, nonce=nonce)
        again = await substrate.submit(call, miner.hotkey, nonce=nonce)
        assert await substrate.account_next_index(miner.address) == nonce + 1
    assert first.success
    assert not again.success
    assert again.block_hash is None


async def test_nobody_registers_without_the_means(host: ChainHost):
    """A coldkey without funds buys nothing."""
    poor = DevWallet("//Poor")
    async with open_client(host.network) as client:
        result = await client.execute(bt.BurnedRegister(netuid=host.netuid), poor)
    assert not result.success
    assert result.error.code is bt.ErrorCode.INSUFFICIENT_BALANCE


async def test_blocks_pass(host: ChainHost):
    """The block number grows, and reads tell the block they are of."""
    async with joined(host, await register(host, "//Alice")) as chain:
        before = await chain.block()
        host.advance(3)
        assert await chain.block() >= before + 3
        assert (await chain.metagraph()).block >= before + 3
