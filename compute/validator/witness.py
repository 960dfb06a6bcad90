"""Tells a miner that is dead from a network of ours that is.

An observation that a miner did not answer is held back until its round is over. If the chain is
away at that moment, or if most of those that answered last time fell silent together, the fault is
taken to be on our side, and the observations become inconclusive.
"""

from compute.domain.evidence import Observation, Outcome, Reason
from compute.validator.chainview import ChainView

# Refusals are among them: a clock of ours that is wrong makes every miner refuse at once.
SILENT = frozenset({Reason.UNREACHABLE, Reason.LATE, Reason.REFUSED})
LEAST_CROWD = 4  # fewer miners than this tell nothing about our network
MASS_SHARE = 0.5


class Witness:
    """Collects one round's answers and silences.

    Args:
        view: of the chain, which is reached over the same network.
    """

    def __init__(self, view: ChainView) -> None:
        self._view = view
        self._held: list[Observation] = []
        self._expected_silent = 0
        self._expected = 0

    def hold(self, observation: Observation, *, answered_before: bool) -> bool:
        """Take note of an observation; True when it was held back and is not to be written yet."""
        self._expected += answered_before
        if observation.outcome is Outcome.FAILED and observation.reason in SILENT:
            self._expected_silent += answered_before
            self._held.append(observation)
            return True
        return False

    async def verdicts(self) -> list[Observation]:
        """The observations that were held back, as they shall be written."""
        if not self._held:
            return []
        if not await self._view.look():
            return [_doubt(each, Reason.CHAIN_AWAY) for each in self._held]
        crowd = self._expected >= LEAST_CROWD
        if crowd and self._expected_silent > MASS_SHARE * self._expected:
            return [_doubt(each, Reason.MASS_OUTAGE) for each in self._held]
        return self._held


def _doubt(observation: Observation, reason: Reason) -> Observation:
    return observation.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "reason": reason})
