"""Vectors: shares, burning, clipping and rounding in whole numbers."""

from compute.domain.measurement import PPM, U16
from compute.domain.vector import burn, clip, quantise, share_out


def test_shares_are_kept_whatever_the_scales():
    """Two challenges with shares 3 to 1 give 3 to 1, though their scores differ by magnitudes."""
    parts = {"a": {1: 1}, "b": {2: 10**12}}
    whole = share_out(parts, {"a": 750, "b": 250})
    assert whole[1] == 3 * whole[2]


def test_challenge_without_scores_takes_nothing_from_others():
    """An empty challenge, and one of zeros, leave the others' vector as it is."""
    alone = quantise(share_out({"a": {1: 5, 2: 10}}, {"a": 1}))
    parts = {"a": {1: 5, 2: 10}, "b": {}, "c": {3: 0}}
    assert quantise(share_out(parts, {"a": 1, "b": 9, "c": 9})) == alone


def test_burn_takes_its_share_and_all_when_nobody_earned():
    """A fifth goes to the burning UID; without earners everything does; without a UID nothing."""
    burnt = burn({1: 300, 2: 100}, 0, PPM // 5)
    assert burnt[0] * 4 == burnt[1] + burnt[2]
    assert set(burn({}, 0, 0)) == {0}
    assert burn({1: 3}, None, 0) == {1: 3}


def test_clip_meets_the_limit_and_loses_nothing():
    """After clipping no share exceeds the limit, and who was below keeps his proportions."""
    clipped = quantise(clip({1: 90_000, 2: 5_000, 3: 3_000, 4: 2_000}, U16 * 2 // 5))
    whole = sum(clipped.values())
    assert max(clipped.values()) * U16 <= U16 * 2 // 5 * whole
    assert clipped[1] == U16
    assert abs(clipped[2] * 2 - clipped[4] * 5) <= 5


def test_limit_that_cannot_be_met_gives_equal_shares():
    """Two earners under a limit of a third get the same."""
    assert quantise(clip({1: 9, 2: 1}, U16 // 3)) == {1: U16, 2: U16}


def test_no_earner_is_rounded_to_nothing():
    """However small a positive weight, it is at least 1 on chain."""
    assert quantise({1: 10**18, 2: 1}) == {1: U16, 2: 1}
