"""Tells what is wrong with a miner from what is wrong with us.

An observation that could be our own doing is held back until its round is over. What strikes most
of those that passed last time, all at once, is taken to be on our side, and becomes inconclusive:
silence is then our network, answers that cannot be worked with are a defect of ours. What strikes
fewer is theirs, so that nobody escapes a measurement by an answer that trips it
(docs/adr/0065-whose-fault.md).
"""

from collections.abc import Container

from compute.domain.evidence import Observation, Outcome, Reason
from compute.telemetry import logs
from compute.validator.chainview import ChainView

# Refusals are among them: a clock of ours that is wrong makes every miner refuse at once.
SILENT = frozenset({Reason.UNREACHABLE, Reason.LATE, Reason.REFUSED})
BROKEN = frozenset({Reason.MALFORMED})
LEAST_CROWD = 4  # fewer miners than this tell nothing about our side
MASS_SHARE = 0.5
log = logs.get("witness")


class Witness:
    """Collects one round's answers, and holds back what may not be the miners' fault.

    Args:
        view: of the chain, which is reached over the same network.
        doubted: reasons of failures that are held back, of `SILENT` and `BROKEN`.
    """

    def __init__(self, view: ChainView, doubted: Container[Reason] = SILENT | BROKEN) -> None:
        self._view = view
        self._doubted = doubted
        self._held: list[tuple[Observation, bool]] = []
        self._expected = 0

    def hold(self, observation: Observation, *, answered_before: bool) -> bool:
        """Take note of an observation; True when it was held back and is not to be written yet.

        Args:
            observation: as it would be written.
            answered_before: whether the miner passed the last measurement of this kind. Only such
                are counted, so that nobody makes a crowd of those that were never any good.
        """
        self._expected += answered_before
        if observation.outcome is Outcome.FAILED and observation.reason in self._doubted:
            self._held.append((observation, answered_before))
            return True
        return False

    async def verdicts(self) -> list[Observation]:
        """The observations that were held back, as they shall be written."""
        silent = [held for held in self._held if held[0].reason in SILENT]
        broken = [held for held in self._held if held[0].reason not in SILENT]
        return [*await self._silence(silent), *self._breakage(broken)]

    async def _silence(self, held: list[tuple[Observation, bool]]) -> list[Observation]:
        if held and not await self._view.look():
            return _doubt(held, Reason.CHAIN_AWAY)
        return _doubt(held, Reason.MASS_OUTAGE if self._most(held) else None)

    def _breakage(self, held: list[tuple[Observation, bool]]) -> list[Observation]:
        if not self._most(held):
            return _doubt(held, None)
        first = held[0][0]
        log.error(
            "most_answers_broke_a_check",
            kind=first.kind.value,
            round=first.round,
            struck=len(held),
            detail=first.detail,
        )
        return _doubt(held, Reason.OUR_FAULT)

    def _most(self, held: list[tuple[Observation, bool]]) -> bool:
        """Whether most of those that passed last time are among these."""
        struck = sum(before for _, before in held)
        return self._expected >= LEAST_CROWD and struck > MASS_SHARE * self._expected


def _doubt(held: list[tuple[Observation, bool]], reason: Reason | None) -> list[Observation]:
    """These observations, inconclusive for a reason; as they are where there is none."""
    if reason is None:
        return [observation for observation, _ in held]
    doubted = {"outcome": Outcome.INCONCLUSIVE, "reason": reason}
    return [observation.model_copy(update=doubted) for observation, _ in held]
