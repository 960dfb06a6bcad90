"""Whose fault it was: turns what went wrong with a miner into an outcome and a reason.

What a miner does or fails to do is held against it; what our own side did is inconclusive and
changes no score.
"""

import errno
import traceback
from concurrent.futures import BrokenExecutor
from typing import NamedTuple

from compute.domain.evidence import INNOCENT, Outcome, Reason
from compute.errors import Code, ComputeError
from compute.telemetry import logs

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
# What the machine under us lacks: the only system errors that no answer of a miner's can cause.
_OUR_LACK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
# What a miner says of who probes it. To turn a probe away is a failure of the miner's: a renter
# would be turned away. What passes by itself, or comes from a clock of ours, counts in a row only.
_SAID_OF_US = {
    Code.DENIED: Reason.REFUSED,
    Code.NOT_REGISTERED: Reason.REFUSED,
    Code.RATE_LIMITED: Reason.BUSY,
    Code.STALE: Reason.BUSY,
    Code.REPLAYED: Reason.BUSY,
}
DETAIL = 300
log = logs.get("outcomes")


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


def judge_answer(error: Exception) -> Judgement:
    """The outcome of an error that came up while a miner's answers were being worked with.

    Whatever is not foreseen is taken to be caused by what the miner said, and is malformed: were it
    inconclusive, a miner could escape each measurement by an answer that trips it. That it was a
    defect of ours shows when it strikes most of a round: `compute.validator.witness` tells then.
    """
    if isinstance(error, ComputeError | TimeoutError | BrokenExecutor):
        return judge(error)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OUR_LACK):
        log.error("our_own_lack", exc_info=error)
        return failed(Reason.OUR_FAULT, type(error).__name__)
    log.warning("answer_broke_a_check", exc_info=error)
    return failed(
        Reason.MALFORMED,
        f"its answer cannot be worked with: {type(error).__name__} in {_place(error)}",
    )


def _place(error: BaseException) -> str:
    """Where in this product an error came up: its innermost line of ours."""
    frames = traceback.walk_tb(error.__traceback__)
    ours = [
        f"{name}:{line}"
        for frame, line in frames
        if (name := frame.f_globals.get("__name__", "")).startswith("compute.")
    ]
    return ours[-1] if ours else "other code"


def judge_refusal(code: Code, detail: str = "") -> Judgement:
    """The outcome of a rental probe that learnt nothing, by the code that ended it."""
    return failed(_SAID_OF_US.get(code, Reason.OUR_FAULT), detail)


def failed(reason: Reason, detail: str = "") -> Judgement:
    """A judgement for a reason: inconclusive where it is nobody's but our own."""
    outcome = Outcome.INCONCLUSIVE if reason in INNOCENT else Outcome.FAILED
    return Judgement(outcome, reason, detail[:DETAIL])
