"""Whose fault it was: turns what went wrong with a miner into an outcome and a reason.

What a miner does or fails to do is held against it; what our own side did is inconclusive and
changes no score.
"""

from typing import NamedTuple

from compute.domain.evidence import INNOCENT, Outcome, Reason
from compute.errors import Code, ComputeError

# What our own side found out about a miner, or about itself.
_FOUND = {
    Code.PEER_AWAY: Reason.UNREACHABLE,
    Code.PEER_LATE: Reason.LATE,
    Code.PEER_INVALID: Reason.MALFORMED,
    Code.RECEIPT: Reason.BAD_RECEIPT,
    Code.ADDRESS_REFUSED: Reason.BAD_ADDRESS,
    Code.PROOF_LATE: Reason.SLOW,
    Code.PROBE_FAILED: Reason.PROBE_FAILED,
    Code.CHAIN_AWAY: Reason.CHAIN_AWAY,
}
# What a miner says of itself. One whose hardware is rented out cannot prove it now: nothing is
# held against it and nothing is gained, since what it proved before counts until it is too old.
_SAID = {
    Code.NO_CAPACITY: Reason.BUSY,
    Code.BUSY: Reason.BUSY,
    Code.RATE_LIMITED: Reason.BUSY,
    Code.PROVER_FAILED: Reason.PROVER_FAILED,
}
DETAIL = 300


class Judgement(NamedTuple):
    """How one measurement ended."""

    outcome: Outcome
    reason: Reason
    detail: str = ""


PASSED = Judgement(Outcome.PASSED, Reason.OK)


def judge(error: BaseException) -> Judgement:
    """The outcome that an error stands for."""
    if isinstance(error, ComputeError):
        if "peer" in error.data:
            reason = _SAID.get(error.code, Reason.REFUSED)
        else:
            reason = _FOUND.get(error.code, Reason.OUR_FAULT)
        return failed(reason, f"{error.code.spec.slug}: {error.detail}"[:DETAIL])
    if isinstance(error, TimeoutError):
        return failed(Reason.LATE, "no answer before the deadline")
    return failed(Reason.OUR_FAULT, type(error).__name__)


def failed(reason: Reason, detail: str = "") -> Judgement:
    """A judgement for a reason: inconclusive where it is nobody's but our own."""
    outcome = Outcome.INCONCLUSIVE if reason in INNOCENT else Outcome.FAILED
    return Judgement(outcome, reason, detail[:DETAIL])
