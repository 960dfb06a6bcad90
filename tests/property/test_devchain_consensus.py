"""The epoch as a pure function: whatever the weights, the shares stay fair and bounded."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compute.adapters.chain.devchain.consensus import (
    Participant,
    Rules,
    choose_permits,
    run_epoch,
    weighted_median,
)
from compute.adapters.chain.devchain.reveal import decode_payload, encode_payload

RULES = Rules(max_validators=4)
U16 = st.integers(0, 65_535)


def participant(
    stake: float = 0.0,
    *,
    permit: bool = False,
    active: bool = True,
    last_update: int = 10,
    registered_at: int = 1,
) -> Participant:
    """A neuron that has set weights since everybody registered."""
    return Participant(stake, permit, active, last_update, registered_at)


@st.composite
def subnets(draw: st.DrawFn) -> tuple[list[Participant], dict[int, dict[int, int]]]:
    """Any subnet of up to eight neurons with any weights."""
    count = draw(st.integers(1, 8))
    neurons = draw(
        st.lists(
            st.builds(
                Participant,
                stake=st.floats(0, 1e15),
                permit=st.booleans(),
                active=st.booleans(),
                last_update=st.integers(0, 20),
                registered_at=st.integers(0, 20),
            ),
            min_size=count,
            max_size=count,
        )
    )
    row = st.dictionaries(st.integers(0, count + 2), U16, max_size=count)
    return neurons, draw(st.dictionaries(st.integers(0, count - 1), row, max_size=count))


@given(subnets())
@settings(max_examples=300)
def test_shares_are_shares(
    subnet: tuple[list[Participant], dict[int, dict[int, int]]],
):
    """Incentive and dividends each sum to one or are all zero; nothing leaves 0 to 1."""
    neurons, weights = subnet
    outcome = run_epoch(neurons, weights, RULES)
    for shares in (outcome.incentive, outcome.dividends):
        assert shares.sum() == pytest.approx(1) or not shares.any()
    for values in (
        outcome.consensus,
        outcome.incentive,
        outcome.dividends,
        outcome.trust,
        outcome.validator_trust,
    ):
        assert len(values) == len(neurons)
        assert (values >= 0).all()
        assert (values <= 1 + 1e-9).all()
    assert sum(outcome.permits) <= RULES.max_validators


@given(subnets())
def test_only_permitted_active_stake_earns_dividends(
    subnet: tuple[list[Participant], dict[int, dict[int, int]]],
):
    """Who had no permit, no stake, or fell silent, earns nothing by weighting."""
    neurons, weights = subnet
    outcome = run_epoch(neurons, weights, RULES)
    for uid, neuron in enumerate(neurons):
        if not (neuron.permit and neuron.active and neuron.stake > 0):
            assert outcome.dividends[uid] == 0


@given(subnets())
def test_nobody_earns_without_being_weighted_by_others(
    subnet: tuple[list[Participant], dict[int, dict[int, int]]],
):
    """One's own weight on oneself pays nothing."""
    neurons, weights = subnet
    outcome = run_epoch(neurons, weights, RULES)
    for uid in range(len(neurons)):
        others = any(row.get(uid) for voter, row in weights.items() if voter != uid)
        assert others or outcome.incentive[uid] == 0


@given(subnets(), st.integers(1, 1000))
def test_only_proportions_of_weights_matter(
    subnet: tuple[list[Participant], dict[int, dict[int, int]]], factor: int
):
    """A row on any scale says the same."""
    neurons, weights = subnet
    scaled = {
        voter: {uid: value * factor for uid, value in row.items()} for voter, row in weights.items()
    }
    one, other = run_epoch(neurons, weights, RULES), run_epoch(neurons, scaled, RULES)
    assert one.incentive == pytest.approx(other.incentive)
    assert one.dividends == pytest.approx(other.dividends)


@given(subnets(), st.integers(-20, 20))
def test_the_unit_of_stake_does_not_matter(
    subnet: tuple[list[Participant], dict[int, dict[int, int]]], power: int
):
    """Only the proportions of stake count."""
    neurons, weights = subnet
    # Powers of two change no digit of the sums.
    scaled = [
        Participant(
            one.stake * 2.0**power, one.permit, one.active, one.last_update, one.registered_at
        )
        for one in neurons
    ]
    assume(
        all((one.stake > 0) == (two.stake > 0) for one, two in zip(neurons, scaled, strict=True))
    )
    assert run_epoch(neurons, weights, RULES).incentive == pytest.approx(
        run_epoch(scaled, weights, RULES).incentive
    )


@given(st.lists(st.integers(1, 65_535), min_size=3, max_size=6), st.integers(0, 2))
def test_a_minority_cannot_raise_its_friend(honest: list[int], friend: int):
    """What less than half of the stake claims beyond the others is cut off."""
    miners = len(honest)
    majority, minority = miners, miners + 1
    neurons = [participant() for _ in honest]
    neurons += [participant(51.0, permit=True), participant(49.0, permit=True)]
    fair = dict(enumerate(honest))
    alone = run_epoch(neurons, {majority: fair}, RULES)
    cheated = run_epoch(neurons, {majority: fair, minority: {friend: 65_535}}, RULES)
    # Clipping to the honest weight leaves the friend at most what everybody agrees on, plus what
    # the others lose by not being weighted by the minority.
    assert cheated.consensus[friend] <= alone.consensus[friend] + 1e-9
    assert cheated.dividends[minority] <= 0.49 + 1e-9


def test_the_same_weights_give_the_same_shares_as_the_field_knows():
    """A worked example: 60:40 stake, the smaller validator's excess is clipped away."""
    neurons = [
        participant(60.0, permit=True),
        participant(40.0, permit=True),
        participant(),
        participant(),
    ]
    outcome = run_epoch(neurons, {0: {2: 3, 3: 1}, 1: {3: 1}}, RULES)
    assert outcome.consensus == pytest.approx([0, 0, 0.75, 0.25])
    # Ranks: UID 2 gets 0.6 * 0.75, UID 3 gets (0.6 + 0.4) * 0.25.
    assert outcome.incentive == pytest.approx([0, 0, 0.45 / 0.7, 0.25 / 0.7])
    assert outcome.validator_trust == pytest.approx([1.0, 0.25, 0, 0])
    # Bonds on UID 3 are shared 60:40; those on UID 2 are all validator 0's.
    minor = 0.4 * 0.25 / 0.7
    assert outcome.dividends == pytest.approx([1 - minor, minor, 0, 0])


def test_weights_older_than_a_neuron_do_not_count_for_it():
    """Who registers after a row was set gets nothing from it."""
    neurons = [
        participant(1.0, permit=True, last_update=10),
        participant(registered_at=10),
        participant(registered_at=9),
    ]
    outcome = run_epoch(neurons, {0: {1: 1, 2: 1}}, RULES)
    assert outcome.incentive == pytest.approx([0, 0, 1])


def test_the_owner_may_weight_itself():
    """The one exception from the rule on oneself."""
    neurons = [participant(1.0, permit=True)]
    assert not run_epoch(neurons, {0: {0: 1}}, Rules(1)).incentive.any()
    assert run_epoch(neurons, {0: {0: 1}}, Rules(1, owner_uid=0)).incentive == pytest.approx([1])


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20), st.integers(0, 25))
def test_permits_go_to_the_largest_stakes(stakes: list[float], seats: int):
    """No neuron without a permit has more stake than one with it; nobody gets one for nothing."""
    permits = choose_permits(stakes, seats)
    chosen = [stake for stake, permit in zip(stakes, permits, strict=True) if permit]
    others = [stake for stake, permit in zip(stakes, permits, strict=True) if not permit]
    assert len(chosen) == min(seats, sum(stake > 0 for stake in stakes))
    assert not chosen or not others or min(chosen) >= max(others)
    assert all(stake > 0 for stake in chosen)


@given(
    st.lists(
        st.tuples(st.integers(1, 100), st.lists(st.integers(0, 5), min_size=3, max_size=3)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_the_median_is_what_enough_stake_backs(rows: list[tuple[int, list[int]]], kappa: float):
    """Against the definition: the largest weight that at least kappa of the stake gives."""
    stake = np.array([share for share, _ in rows], dtype=float)
    stake /= stake.sum()
    votes = np.array([row for _, row in rows], dtype=float)
    found = weighted_median(votes, stake, kappa)
    for column, value in enumerate(found):
        backed = [
            vote
            for vote in set(votes[:, column])
            if stake[votes[:, column] >= vote].sum() >= kappa - 1e-12
        ]
        assert value == max(backed)


@given(st.binary(max_size=40), st.lists(U16, max_size=300), st.lists(U16, max_size=5))
def test_a_sealed_payload_is_read_as_it_was_written(
    hotkey: bytes, uids: list[int], values: list[int]
):
    """What a validator seals is what the chain opens."""
    assert decode_payload(encode_payload(hotkey, uids, values, 7)) == (hotkey, uids, values)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_payload_or_none(data: bytes):
    """Whatever somebody seals, opening it does no harm."""
    read = decode_payload(data)
    assert read is None or json.dumps([read[1], read[2]])
