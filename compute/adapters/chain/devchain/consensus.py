"""One epoch of the subnet's consensus, as a pure function: weights in, shares out.

The arithmetic is that of the chain's own epoch ("Yuma consensus"), in floating point: weights of
permitted, active validators are normalised, clipped at the stake-weighted median, and turned into
incentive for those who are weighted and dividends for those who weight. Bonds have no memory here:
the moving average of the real chain, which delays dividends, is set to one epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Row = Mapping[int, int]
"""One validator's weights: target UID to u16, on any scale."""

KAPPA = 32767 / 65535
"""Share of stake that has to agree on a weight; the chain's default."""


@dataclass(frozen=True, slots=True)
class Participant:
    """One UID as the epoch sees it.

    Attributes:
        stake: stake on the subnet, in any unit, not negative.
        permit: whether it held a validator permit *before* this epoch.
        active: whether it has set weights recently enough to count.
        last_update: block of its last weights.
        registered_at: block of its registration.
    """

    stake: float
    permit: bool
    active: bool
    last_update: int
    registered_at: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What the subnet fixes about its consensus.

    Attributes:
        max_validators: how many permits there are.
        kappa: share of stake, 0 to 1, that has to agree on a weight.
        owner_uid: the one UID whose weight on itself counts.
    """

    max_validators: int
    kappa: float = KAPPA
    owner_uid: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What the epoch decides; every array has one entry per UID.

    Attributes:
        consensus: the weight that stake agrees on for each UID, 0 to 1.
        incentive: shares of the miners' emission; they sum to 1, or are all 0.
        dividends: shares of the validators' emission; they sum to 1, or are all 0.
        trust: part of the weight on each UID that survived clipping, 0 to 1.
        validator_trust: part of each validator's own weight that survived clipping, 0 to 1.
        permits: who may set weights from now on.
    """

    consensus: Floats
    incentive: Floats
    dividends: Floats
    trust: Floats
    validator_trust: Floats
    permits: tuple[bool, ...]


def run_epoch(
    participants: Sequence[Participant], weights: Mapping[int, Row], rules: Rules
) -> Outcome:
    """Turn weights into shares.

    Args:
        participants: all UIDs in order.
        weights: rows by validator UID; rows of those without a permit are ignored, as are weights
            on oneself, on unknown UIDs, and on neurons registered since the row was set.
        rules: the subnet's constants.
    """
    count = len(participants)
    voters = _voters(participants)
    stake = _normalised(np.array([participants[uid].stake for uid in voters], dtype=np.float64))
    votes = _votes(participants, voters, weights, rules.owner_uid)
    consensus = weighted_median(votes, stake, rules.kappa)
    clipped = np.minimum(votes, consensus)
    ranks, unclipped = stake @ clipped, stake @ votes
    incentive = _normalised(ranks)
    bonds = _normalised_columns(clipped * stake[:, None])
    return Outcome(
        consensus=consensus,
        incentive=incentive,
        dividends=_spread(_normalised(bonds @ incentive), voters, count),
        trust=np.divide(ranks, unclipped, out=np.zeros(count), where=unclipped > 0),
        validator_trust=_spread(clipped.sum(axis=1), voters, count),
        permits=choose_permits([p.stake for p in participants], rules.max_validators),
    )


def weighted_median(votes: Floats, stake: Floats, kappa: float) -> Floats:
    """For each column, the largest weight that at least `kappa` of the stake gives or exceeds.

    Args:
        votes: weights, one row per validator, one column per UID.
        stake: the validators' stake, normalised to sum 1 (or all 0).
        kappa: share of stake that has to agree.
    """
    if not len(stake) or not stake.any():
        return np.zeros(votes.shape[1])
    order = np.argsort(-votes, axis=0, kind="stable")
    backing = np.cumsum(stake[order], axis=0)
    enough = np.argmax(backing >= kappa - 1e-12, axis=0)
    ranked = np.take_along_axis(votes, order, axis=0)
    return np.asarray(np.take_along_axis(ranked, enough[None, :], axis=0)[0], dtype=np.float64)


def choose_permits(stakes: Sequence[float], max_validators: int) -> tuple[bool, ...]:
    """The `max_validators` highest stakes above zero; on a tie the lower UID."""
    ranked = sorted(range(len(stakes)), key=lambda uid: (-stakes[uid], uid))
    chosen = {uid for uid in ranked[: max(0, max_validators)] if stakes[uid] > 0}
    return tuple(uid in chosen for uid in range(len(stakes)))


def _voters(participants: Sequence[Participant]) -> list[int]:
    """UIDs whose weights count: they held a permit, are active and have stake."""
    return [
        uid for uid, one in enumerate(participants) if one.permit and one.active and one.stake > 0
    ]


def _votes(
    participants: Sequence[Participant],
    voters: Sequence[int],
    weights: Mapping[int, Row],
    owner_uid: int | None,
) -> Floats:
    """Row-normalised weights of the voters, without what does not count."""
    votes = np.zeros((len(voters), len(participants)))
    for index, voter in enumerate(voters):
        set_at = participants[voter].last_update
        for target, value in weights.get(voter, {}).items():
            if not 0 <= target < len(participants):
                continue
            on_itself = target == voter and voter != owner_uid
            if not on_itself and participants[target].registered_at < set_at:
                votes[index, target] = value
    totals = votes.sum(axis=1, keepdims=True)
    np.divide(votes, totals, out=votes, where=totals > 0)
    return votes


def _normalised(values: Floats) -> Floats:
    total = float(values.sum())
    return values / total if total > 0 else np.zeros_like(values)


def _normalised_columns(values: Floats) -> Floats:
    totals = values.sum(axis=0, keepdims=True)
    out = np.zeros_like(values)
    np.divide(values, totals, out=out, where=totals > 0)
    return out


def _spread(values: Floats, voters: Sequence[int], count: int) -> Floats:
    """Put the voters' values at their UIDs, zero elsewhere."""
    out = np.zeros(count)
    out[list(voters)] = values
    return out
