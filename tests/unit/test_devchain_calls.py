"""Calls of the development chain past the SDK's preflight: each refusal by the chain's own name."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bittensor as bt
import pytest

from compute.adapters.chain.devchain import ChainParams, DevChain, SubnetParams
from compute.testing.chain import DevHost, DevWallet

RULES = SubnetParams(tempo=10, weights_rate_limit=0, serving_rate_limit=0)
CALLS = bt.calls.SubtensorModule


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DevHost]:
    """A subnet with a permitted validator (UID 0) and two miners."""
    made = DevHost(tmp_path, RULES)
    made.registered("//Alice", stake=1000)
    made.registered("//Bob")
    made.registered("//Charlie")
    made.advance(RULES.tempo)
    yield made
    made.close()


def send(host: DevHost, call: Any, phrase: str = "//Alice", signer: str = "hotkey") -> str | None:
    """Submit a raw call; the chain's name of the failure, or None."""
    with host.subtensor() as sub:
        result = sub.submit_call(call, DevWallet(phrase), signer=signer)
    return result.error.name if result.error else None


def weights(uids: list[int], values: list[int], **changes: int) -> Any:
    """A plain weights call."""
    arguments = {"netuid": 1, "mecid": 0, "version_key": 0, **changes}
    return CALLS.set_mechanism_weights(dests=uids, weights=values, **arguments)


@pytest.mark.parametrize(
    ("call", "phrase", "name"),
    [
        (weights([1], [1]), "//Bob", None),
        (weights([2], [1]), "//Bob", "NeuronNoValidatorPermit"),
        (weights([1, 2], [1]), "//Alice", "WeightVecNotEqualSize"),
        (weights([1, 1], [1, 1]), "//Alice", "DuplicateUids"),
        (weights([1, 3], [1, 1]), "//Alice", "UidVecContainInvalidOne"),
        (weights([0, 1, 2, 3], [1] * 4), "//Alice", "UidsLengthExceedUidsInSubNet"),
        (weights([1], [1], mecid=1), "//Alice", "MechanismDoesNotExist"),
        (weights([1], [1], netuid=2), "//Alice", "SubnetNotExists"),
        (weights([1], [1]), "//Nobody", "HotKeyNotRegisteredInSubNet"),
        (CALLS.set_weights(1, [1], [1], 0), "//Alice", None),
    ],
)
def test_weights_are_judged_as_on_the_real_chain(
    host: DevHost, call: Any, phrase: str, name: str | None
):
    """Each rule on weights has its name; on oneself anybody may weight."""
    host.wallet("//Nobody")
    assert send(host, call, phrase) == name


@pytest.mark.parametrize(
    ("changes", "call", "name"),
    [
        ({"min_allowed_weights": 2}, weights([1], [1]), "WeightVecLengthIsLow"),
        ({"min_allowed_weights": 2}, weights([0], [1]), None),
        ({"max_weights_limit": 30_000}, weights([1, 2], [9, 1]), "MaxWeightExceeded"),
        ({"weights_version": 2}, weights([1], [1], version_key=1), "IncorrectWeightVersionKey"),
        ({"stake_threshold_rao": 10**15}, weights([1], [1]), "NotEnoughStakeToSetWeights"),
        ({"weights_rate_limit": 50}, weights([1], [1]), "RateLimitExceeded"),
    ],
)
def test_a_subnets_own_rules_hold(
    host: DevHost, changes: dict[str, int], call: Any, name: str | None
):
    """Hyperparameters limit weights also for those who go past the SDK's preflight."""
    host.provision.set_params(1, RULES.model_copy(update=changes))
    assert send(host, call) == name


def test_stake_below_the_threshold_has_no_say(host: DevHost):
    """The threshold also keeps permits and weights from counting."""
    send(host, weights([1], [1]))
    host.provision.set_params(1, RULES.model_copy(update={"stake_threshold_rao": 10**15}))
    host.advance(2 * RULES.tempo)
    with host.subtensor() as sub:
        alice, bob, _ = sub.subnets.metagraph(1)
    assert (alice.validator_permit, bob.incentive) == (False, 0.0)


def axon(ip: int, ip_type: int = 4, port: int = 8091) -> Any:
    """A serving call."""
    return CALLS.serve_axon(1, 1, ip, port, ip_type, 4, 0, 0)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (axon(0x7F000001), "InvalidIpAddress"),
        (axon(0x7F000002), None),
        (axon(0x7F000000), None),
        (axon(0xFFFFFFFF), "InvalidIpAddress"),
        (axon(1, 6), "InvalidIpAddress"),
        (axon(2, 6), None),
        (axon(0x7F000002, 5), "InvalidIpType"),
        (axon(0x7F000002, port=0), "InvalidPort"),
    ],
)
def test_addresses_are_judged_as_on_the_real_chain(host: DevHost, call: Any, name: str | None):
    """This host and broadcast are no addresses, neighbours of theirs are."""
    assert send(host, call, "//Bob") == name


def test_an_axon_can_be_taken_back(host: DevHost):
    """The SDK's reset makes a neuron stop being announced."""
    send(host, axon(0x7F000002), "//Bob")
    with host.subtensor() as sub:
        assert sub.execute(bt.ResetAxon(netuid=1), DevWallet("//Bob")).success
        assert sub.subnets.metagraph(1).neurons[1].axon is None


def registration(phrase: str, netuid: int = 1) -> Any:
    """A registration call, in the clear."""
    return CALLS.burned_register(netuid, DevWallet(phrase).address)


@pytest.mark.parametrize(
    ("changes", "hotkey", "netuid", "name"),
    [
        ({}, "//Dora", 2, "SubnetNotExists"),
        ({}, "//Bob", 1, "HotKeyAlreadyRegisteredInSubNet"),
        ({"registration_allowed": False}, "//Dora", 1, "SubNetRegistrationDisabled"),
        ({"burn_rao": 10**15}, "//Dora", 1, "NotEnoughBalanceToStake"),
        ({}, "//Dora", 1, None),
    ],
)
def test_registration_is_judged_as_on_the_real_chain(
    host: DevHost, changes: dict[str, int], hotkey: str, netuid: int, name: str | None
):
    """Each reason not to register has its name."""
    host.provision.set_params(1, RULES.model_copy(update=changes))
    assert send(host, registration(hotkey, netuid), "//Alice", "coldkey") == name


def test_a_hotkey_belongs_to_one_coldkey(host: DevHost):
    """Nobody registers another's hotkey elsewhere."""
    host.provision.add_subnet(2)
    assert send(host, registration("//Bob", 2), "//Alice", "coldkey") == "NonAssociatedColdKey"
    assert send(host, registration("//Bob", 2), "//Bob", "coldkey") is None


def test_a_block_takes_only_so_many_registrations(host: DevHost):
    """The next block takes them again."""
    host.provision.set_params(1, RULES.model_copy(update={"max_registrations_per_block": 1}))
    assert send(host, registration("//Dora"), "//Alice", "coldkey") is None
    late = send(host, registration("//Eve"), "//Alice", "coldkey")
    assert late == "TooManyRegistrationsThisBlock"
    host.advance(1)
    assert send(host, registration("//Eve"), "//Alice", "coldkey") is None


def commitment(*fields: Any) -> Any:
    """A commitment call."""
    return bt.calls.Commitments.set_commitment(netuid=1, info={"fields": [list(fields)]})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (commitment({"Raw3": "0x" + "00" * 3}), None),
        (commitment({"Raw3": "0x" + "00" * 4}), "InvalidValue"),
        (commitment({"Raw129": "0x" + "00" * 129}), "InvalidValue"),
        (commitment({"BigRaw": "0x" + "00" * 500}), None),
        (commitment({"Sha256": "0x" + "00" * 32}), None),
        (commitment({"Sha256": "0x" + "00" * 31}), "InvalidValue"),
        (commitment({"Raw1": "no hex"}), "InvalidValue"),
        (commitment({"Strange": "0x00"}), "InvalidValue"),
        (commitment({"Raw1": "0x00"}, {"Raw1": "0x00"}), "TooManyFieldsInCommitmentInfo"),
    ],
)
def test_commitments_are_judged_as_on_the_real_chain(host: DevHost, call: Any, name: str | None):
    """What cannot be a commitment is refused."""
    assert send(host, call, "//Bob") == name


def test_commitments_have_their_space_per_epoch(host: DevHost):
    """Each costs at least 100 bytes of the epoch's space, which the next epoch gives anew."""
    host.provision.set_params(1, RULES.model_copy(update={"commitment_space": 250}))
    one = commitment({"Raw1": "0x00"})
    assert [send(host, one, "//Bob") for _ in range(3)] == [None, None, "SpaceLimitExceeded"]
    host.advance(RULES.tempo)
    assert send(host, one, "//Bob") is None


def test_only_registered_hotkeys_commit(host: DevHost):
    """The chain itself refuses strangers."""
    host.wallet("//Nobody")
    refused = send(host, commitment({"Raw1": "0x00"}), "//Nobody", "coldkey")
    assert refused == "AccountNotAllowedCommit"


@pytest.mark.parametrize(
    "call",
    [
        bt.calls.Balances.transfer_keep_alive(dest="x", value=1),
        CALLS.register_network(hotkey=DevWallet("//Alice").address),
        weights([70_000], [1]),
        weights([1], [-1]),
        CALLS.burned_register(1, "no address"),
    ],
)
def test_what_cannot_be_encoded_or_is_not_there_is_an_error_at_once(host: DevHost, call: Any):
    """An unknown call, or numbers out of range, never become a transaction."""
    with pytest.raises(bt.ChainError):
        send(host, call)


# Transactions -------------------------------------------------------------------------------


class Forger:
    """Signs with one key and claims another's address."""

    def __init__(self, mine: DevWallet, victim: DevWallet) -> None:
        self._mine = mine.hotkey
        self.ss58_address = victim.address
        self.public_key = victim.hotkey.public_key
        self.crypto_type = 1

    def sign(self, payload: bytes) -> bytes:
        """A signature of the wrong key."""
        return bytes(self._mine.sign(payload))


def test_a_forged_signature_gets_into_no_block(host: DevHost):
    """Only the owner of a key speaks for it."""
    with host.subtensor() as sub:
        forger = Forger(DevWallet("//Alice"), DevWallet("//Bob"))
        result = sub.submit_call(commitment({"Raw1": "0x00"}), forger, signer="hotkey")
        assert result.error.name == "BadProof"
        assert sub.query(("System", "Account"), [DevWallet("//Bob").address])["nonce"] == 0


def run(host: DevHost, work: Callable[[DevChain], Any]) -> Any:
    """Do something at the seam itself."""

    async def whole() -> Any:
        chain = DevChain(host.path)
        try:
            return await work(chain)
        finally:
            await chain.close()

    return asyncio.run(whole())


def test_a_transaction_from_the_future_waits_outside(host: DevHost):
    """A nonce that is ahead gets into no block, and none below the account's does either."""

    async def work(chain: DevChain) -> list[str | None]:
        key = DevWallet("//Bob").hotkey
        call = commitment({"Raw1": "0x00"})
        results = [await chain.submit(call, key, nonce=nonce) for nonce in (1, 0, 0, 1)]
        return [result.error.name if result.error else None for result in results]

    assert run(host, work) == ["Future", None, "Stale", None]


def test_transactions_of_one_key_at_once_all_get_in(host: DevHost):
    """Several connections that use one key at the same moment do not lose to each other's nonce."""
    host.provision.set_params(1, RULES.model_copy(update={"commitment_space": 10**6}))
    key, call = DevWallet("//Bob").hotkey, commitment({"Raw1": "0x00"})

    async def work(chain: DevChain) -> list[bool]:
        others = [DevChain(host.path) for _ in range(3)]
        results = await asyncio.gather(*(one.submit(call, key) for one in [chain, *others] * 3))
        for other in others:
            await other.close()
        return [result.success for result in results]

    assert run(host, work) == [True] * 12


def test_who_cannot_pay_the_fee_gets_into_no_block(host: DevHost):
    """The owner of the hotkey pays; without means nothing happens at all."""
    poor = DevWallet("//Poor")
    host.provision.register(1, poor.address, poor.coldkey.ss58_address)
    assert send(host, commitment({"Raw1": "0x00"}), "//Poor") == "Payment"
    with host.subtensor() as sub:
        assert sub.read("commitment", netuid=1, hotkey_ss58=poor.address) is None


def test_the_owner_pays_for_its_hotkey(host: DevHost):
    """The fee goes from the coldkey, as the SDK warns."""
    bob = DevWallet("//Bob")
    with host.subtensor() as sub:
        before = sub.balances.get(bob.coldkey.ss58_address).rao
        result = sub.submit_call(commitment({"Raw1": "0x00"}), bob, signer="hotkey")
        after = sub.balances.get(bob.coldkey.ss58_address).rao
    assert before - after == result.fee.rao == ChainParams().fee_rao


def test_what_failed_leaves_nothing_but_its_fee(host: DevHost):
    """A registration that finds no place gives the burn back."""
    host.provision.set_params(1, RULES.model_copy(update={"max_uids": 3, "burn_rao": 10**9}))
    cold = DevWallet("//Alice").coldkey.ss58_address
    with host.subtensor() as sub:
        before = sub.balances.get(cold).rao
        assert send(host, registration("//Dora"), "//Alice", "coldkey") == "NoNeuronIdAvailable"
        assert before - sub.balances.get(cold).rao == ChainParams().fee_rao


def test_a_shielded_call_that_cannot_be_opened_is_not_run(host: DevHost):
    """The carrier is paid for; what is inside is lost."""
    call = bt.calls.MevShield.submit_encrypted(ciphertext=b"nonsense" * 200)
    assert send(host, call, "//Alice", "coldkey") is None
    with host.subtensor() as sub:
        assert len(sub.subnets.metagraph(1)) == 3


def test_a_shielded_call_that_is_turned_away_says_why(host: DevHost):
    """Means for the carrier but not for what it carries: the reason comes back, without a wait."""
    poor = DevWallet("//Poor")
    host.provision.fund(poor.coldkey.ss58_address, 1.5 * ChainParams().fee_rao / 1e9)
    with host.subtensor() as sub:
        result = sub.execute(bt.BurnedRegister(netuid=1), poor)
    assert result.error.name == "Payment"


def test_events_tell_what_happened(host: DevHost):
    """A block's events are those of its transactions, each with its transaction's index."""
    with host.subtensor() as sub:
        alice = DevWallet("//Alice")
        result = sub.submit_call(weights([1], [1]), alice, signer="hotkey")
        bad = sub.submit_call(weights([9], [1]), alice, signer="hotkey")
    names = [one["event"]["event_id"] for one in result.events]
    assert names == ["WeightsSet", "ExtrinsicSuccess"]
    events = run(host, lambda chain: chain.events(bad.block_hash))
    assert [(one["event"]["event_id"], one["extrinsic_idx"]) for one in events] == [
        ("WeightsSet", 0),
        ("ExtrinsicSuccess", 0),
        ("ExtrinsicFailed", 1),
    ]


# Reads --------------------------------------------------------------------------------------


def test_the_sdks_own_reads_work(host: DevHost):
    """The SDK's named reads give what they promise."""
    with host.subtensor() as sub:
        assert [one.netuid for one in sub.subnets.all()] == [1]
        assert sub.subnets.info(1).neuron_count == 3
        assert [one.uid for one in sub.neurons.all(1)] == [0, 1, 2]
        alice = DevWallet("//Alice")
        assert sub.neurons.hotkey_owner(alice.address) == alice.coldkey.ss58_address
        assert sub.neurons.owned_hotkeys(alice.coldkey.ss58_address) == [alice.address]
        assert sub.neurons.netuids_for_hotkey(alice.address) == [1]
        assert sub.epochs.blocks_since_last_update(1, 0) == RULES.tempo
        assert sub.subnets.metagraph(9) is None
        assert sub.finalized_block == sub.block
        with pytest.raises(bt.ChainError, match="has no"):
            sub.query(("SubtensorModule", "NoSuchItem"))


def test_many_keys_are_read_at_once(host: DevHost):
    """A batch answers in the order of its keys."""
    with host.subtensor() as sub:
        keys = [[1, DevWallet(name).address] for name in ("//Charlie", "//Nobody", "//Alice")]
        assert sub.query_batch(("SubtensorModule", "Uids"), keys) == [2, None, 0]


async def test_new_blocks_are_told_as_they_come(host: DevHost):
    """A subscription yields each newer head that it sees."""
    chain = DevChain(host.path)
    stream = chain.blocks()
    seen = []
    for _ in range(2):
        coming = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        host.advance(1)
        seen.append((await coming)["header"]["number"])
    await chain.close()
    assert seen[1] == seen[0] + 1
