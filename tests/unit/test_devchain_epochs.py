"""Epochs of the development chain: when they run, and what they leave behind."""

import asyncio
from pathlib import Path

import bittensor as bt
import bittensor_core
import pytest

from compute.adapters.chain.devchain import Provision, SubnetParams
from compute.adapters.chain.devchain.reveal import encode_payload, open_commit
from compute.domain.metagraph import Metagraph
from compute.testing.chain import DevHost, DevWallet

TEMPO = 10
RULES = SubnetParams(tempo=TEMPO, weights_rate_limit=0)

# Round 1000 of drand quicknet and its published signature.
ROUND = 1000
SIGNATURE = (
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
    "e342b73a8dd2bacbe47e4b6b63ed5e39"
)


def make(folder: Path, rules: SubnetParams = RULES) -> tuple[DevHost, DevWallet, DevWallet]:
    """A chain with a staked validator (UID 0) and a miner (UID 1)."""
    host = DevHost(folder, rules)
    return host, host.registered("//Alice", stake=1000), host.registered("//Bob")


def seen(host: DevHost) -> Metagraph:
    """The metagraph as a neuron sees it."""

    async def read() -> Metagraph:
        chain = host.chain(DevWallet("//Alice"))
        try:
            return await chain.metagraph()
        finally:
            await chain.close()

    return asyncio.run(read())


def weigh(host: DevHost, wallet: DevWallet, weights: dict[int, float]) -> bt.ExtrinsicResult:
    """Set weights through the SDK."""
    with host.subtensor() as sub:
        return sub.execute(bt.SetWeights(netuid=host.netuid, weights=weights), wallet)


def test_epochs_come_every_tempo(tmp_path: Path):
    """The schedule is the chain's own: last epoch plus tempo."""
    host, _, _ = make(tmp_path)
    with host.subtensor() as sub:
        assert sub.epochs.next_epoch_start_block(1) == 1 + TEMPO
        host.advance(TEMPO - 1)
        assert sub.epochs.epoch_status(1)["epoch_index"] == 0
        host.advance(1)
        status = sub.epochs.epoch_status(1)
    assert (status["epoch_index"], status["last_epoch_block"]) == (1, 1 + TEMPO)
    assert status["blocks_remaining"] == TEMPO


def test_a_long_sleep_ends_where_waking_all_the_time_would(tmp_path: Path):
    """Epochs that nobody saw are made up for, with the same end."""
    states = []
    for steps in (1, 57):
        folder = tmp_path / str(steps)
        folder.mkdir()
        host, validator, _ = make(folder)
        host.advance(TEMPO)
        assert weigh(host, validator, {1: 1.0}).success
        for _ in range(steps):
            host.advance(57 // steps)
            seen(host)
        graph = seen(host)
        states.append((graph.block, graph.blocks_since_epoch, graph.neurons))
    assert states[0] == states[1]
    assert states[0][2][1].incentive == 1.0


def test_sleeping_through_epochs_that_depend_on_each_other_misses_none(tmp_path: Path):
    """One epoch gives the permit back and only the next one pays: both are made up for."""
    host, validator, _ = make(tmp_path)
    host.advance(TEMPO)
    weigh(host, validator, {1: 1.0}).raise_for_failure()
    host.stake(validator, 0)
    host.advance(TEMPO)
    assert not seen(host).neurons[0].validator_permit
    host.stake(validator, 1000)
    host.advance(5 * TEMPO)
    assert seen(host).neurons[0].validator_permit
    assert seen(host).neurons[1].incentive == 1.0


def test_a_validator_that_stopped_weighting_loses_its_say(tmp_path: Path):
    """After the activity cutoff its weights pay nobody, though it keeps its permit."""
    host, validator, _ = make(tmp_path, RULES.model_copy(update={"activity_cutoff": 25}))
    host.advance(TEMPO)
    weigh(host, validator, {1: 1.0})
    host.advance(TEMPO)
    assert seen(host).neurons[1].incentive == 1.0
    host.advance(3 * TEMPO)
    lazy, miner = seen(host).neurons
    assert (lazy.active, lazy.validator_permit, miner.incentive) == (False, True, 0.0)


def test_who_takes_a_pruned_place_starts_from_nothing(tmp_path: Path):
    """Neither the newcomer nor the pruned one, when it comes back, finds anything of the old."""
    rules = RULES.model_copy(update={"max_uids": 2, "immunity_period": TEMPO})
    host, validator, _ = make(tmp_path, rules)
    newcomer = host.wallet("//Charlie")
    with host.subtensor() as sub:
        sub.execute(bt.ServeAxon(netuid=1, ip="127.0.0.2", port=1), validator).raise_for_failure()
        host.advance(TEMPO)
        weigh(host, validator, {1: 1.0}).raise_for_failure()
        sub.execute(bt.BurnedRegister(netuid=1), newcomer).raise_for_failure()
        assert sub.weights.weights(1) == {}
        taken = seen(host).by_hotkey[newcomer.address]
        assert (taken.uid, taken.axon, taken.validator_permit) == (0, None, False)
        host.advance(TEMPO)
        assert [one.incentive for one in seen(host).neurons] == [0.0, 0.0]
        sub.execute(bt.BurnedRegister(netuid=1), validator).raise_for_failure()
    assert seen(host).by_hotkey[validator.address].axon is None


def test_the_least_paid_is_pruned_first(tmp_path: Path):
    """Emission decides who has to go, not the UID."""
    rules = RULES.model_copy(update={"max_uids": 3, "immunity_period": TEMPO})
    host, validator, miner = make(tmp_path, rules)
    idle = host.registered("//Idle")
    host.advance(TEMPO)
    weigh(host, validator, {1: 1.0}).raise_for_failure()
    host.advance(TEMPO)
    host.provision.register(1, DevWallet("//Charlie").address, "x")
    left = seen(host).by_hotkey
    assert validator.address in left
    assert miner.address in left
    assert idle.address not in left


def test_a_full_subnet_of_immune_neurons_takes_nobody(tmp_path: Path):
    """Registration fails with the chain's own name, and costs only the fee."""
    host, _, _ = make(tmp_path, RULES.model_copy(update={"max_uids": 2}))
    with host.subtensor() as sub:
        result = sub.execute(bt.BurnedRegister(netuid=1), host.wallet("//Charlie"))
    assert result.error.name == "NoNeuronIdAvailable"


def test_old_transactions_are_forgotten(tmp_path: Path):
    """The file does not grow for ever: records of old blocks are dropped at epochs."""
    host, validator, _ = make(tmp_path)
    host.advance(TEMPO)
    first = weigh(host, validator, {1: 1.0})
    with host.subtensor() as sub:
        number = int(first.extrinsic_id.partition("-")[0])
        assert len(sub.block_info(number).extrinsics) == 2  # the clock's, and the weights
        host.advance(5000)
        assert sub.block > number
        assert len(sub.block_info(number).extrinsics) == 1


def test_a_read_of_a_forgotten_block_is_refused(tmp_path: Path):
    """As on a pruned node: better no answer than one of another time."""
    host, _, _ = make(tmp_path)
    with host.subtensor() as sub:
        old = sub.block
        assert sub.subnets.metagraph(1, block=old) is not None
        host.advance(300)
        with pytest.raises(bt.ChainError, match="discarded"):
            sub.subnets.metagraph(1, block=old)


# Commit-reveal ------------------------------------------------------------------------------


def commit(
    host: DevHost, wallet: DevWallet, payload: bytes, *, version: int = 4
) -> bt.ExtrinsicResult:
    """Seal a payload to a round whose signature is known, and commit it."""
    envelope, _ = bittensor_core.encrypt_at_round(payload, ROUND)
    call = bt.calls.SubtensorModule.commit_timelocked_mechanism_weights(
        netuid=host.netuid,
        mecid=0,
        commit=bytes(bittensor_core.inner_ciphertext(envelope)),
        reveal_round=ROUND,
        commit_reveal_version=version,
    )
    with host.subtensor() as sub:
        return sub.submit_call(call, wallet, signer="hotkey")


SEALED = RULES.model_copy(update={"commit_reveal": True})


def sealed_by(wallet: DevWallet, **changes: list[int]) -> bytes:
    """A payload of this wallet that gives UID 1 everything."""
    rows = {"uids": [1], "values": [65535], **changes}
    return encode_payload(bytes(wallet.hotkey.public_key), rows["uids"], rows["values"])


def test_sealed_weights_pay_once_their_signature_is_in(tmp_path: Path):
    """The chain opens a commit with the beacon's signature and counts its weights."""
    host, validator, _ = make(tmp_path, SEALED)
    host.advance(TEMPO)
    assert commit(host, validator, sealed_by(validator)).success
    host.provision.add_pulse(ROUND, SIGNATURE)
    host.advance(2 * TEMPO)
    assert seen(host).neurons[1].incentive == 1.0


def test_sealed_weights_without_a_signature_never_count(tmp_path: Path):
    """Without the beacon nothing is opened, and the commit expires."""
    host, validator, _ = make(tmp_path, SEALED)
    host.advance(TEMPO)
    assert commit(host, validator, sealed_by(validator)).success
    host.advance(4 * TEMPO)
    assert seen(host).neurons[1].incentive == 0.0
    with host.subtensor() as sub:
        assert sub.weights.timelocked_weight_commits(1) == {}


@pytest.mark.parametrize("case", ["another's", "nobody", "not a payload", "more values than uids"])
def test_sealed_nonsense_is_dropped(tmp_path: Path, case: str):
    """What opens to somebody else's, impossible or unreadable weights changes nothing."""
    host, validator, miner = make(tmp_path, SEALED)
    host.advance(TEMPO)
    payload = {
        "another's": sealed_by(miner),
        "nobody": sealed_by(validator, uids=[9]),
        "not a payload": b"\x03nonsense",
        "more values than uids": sealed_by(validator, values=[1, 2]),
    }[case]
    assert commit(host, validator, payload).success
    host.provision.add_pulse(ROUND, SIGNATURE)
    host.advance(3 * TEMPO)
    assert seen(host).neurons[1].incentive == 0.0


def test_plain_weights_are_refused_where_sealed_ones_are_wanted(tmp_path: Path):
    """And sealed ones where plain ones are; each by the chain's own name."""
    host, validator, _ = make(tmp_path, SEALED)
    host.advance(TEMPO)
    plain = bt.calls.SubtensorModule.set_mechanism_weights(1, 0, [1], [1], 0)
    with host.subtensor() as sub:
        refused = sub.submit_call(plain, validator, signer="hotkey")
    assert refused.error.name == "CommitRevealEnabled"
    host.provision.set_params(1, RULES)
    assert commit(host, validator, sealed_by(validator)).error.name == "CommitRevealDisabled"


def test_a_wrong_signature_opens_nothing():
    """A commit is opened by its own round's signature only."""
    envelope, _ = bittensor_core.encrypt_at_round(b"secret", ROUND)
    inner = bytes(bittensor_core.inner_ciphertext(envelope))
    assert open_commit(inner, ROUND, SIGNATURE) == b"secret"
    assert open_commit(inner, ROUND, SIGNATURE[:-2] + "00") is None
    assert open_commit(b"nonsense", ROUND, SIGNATURE) is None


def test_a_commit_to_a_round_that_is_out_is_refused(tmp_path: Path):
    """What everybody can open already hides nothing."""
    host, validator, _ = make(tmp_path, SEALED)
    host.provision.add_pulse(ROUND, SIGNATURE)
    assert commit(host, validator, sealed_by(validator)).error.name == "InvalidRevealRound"


def test_a_commit_of_another_protocol_or_too_long_is_refused(tmp_path: Path):
    """The version is checked, and so is the length."""
    host, validator, _ = make(tmp_path, SEALED)
    old = commit(host, validator, sealed_by(validator), version=3)
    assert old.error.name == "IncorrectCommitRevealVersion"
    assert commit(host, validator, bytes(5_001)).error.name == "CommitPayloadTooLarge"


def test_too_many_unopened_commits_are_refused(tmp_path: Path):
    """Ten may wait, the eleventh may not."""
    host, validator, _ = make(tmp_path, SEALED)
    names = [commit(host, validator, sealed_by(validator)).error for _ in range(11)]
    assert names[:10] == [None] * 10
    assert names[10].name == "TooManyUnrevealedCommits"


def test_provision_says_when_there_is_no_place(tmp_path: Path):
    """Registering by fiat needs a subnet and room in it."""
    host, _, _ = make(tmp_path)
    provision: Provision = host.provision
    wallet = DevWallet("//Charlie")
    assert provision.register(1, wallet.address, wallet.address) == 2
    assert provision.register(1, wallet.address, wallet.address) == 2
    with pytest.raises(Exception, match="subnet 5"):
        provision.register(5, wallet.address, wallet.address)
