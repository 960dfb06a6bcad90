"""What a proof is worth: a pure function from a session's result to credits.

Speed is never corrected for the round trip, because a miner can delay its answers to a ping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from compute.proof.classes import GpuClass
from compute.proof.result import FALSE_OPENINGS, GpuResult, ProofResult

PASS_SHARE = 0.80
"""Share of the class reference below which a GPU is not of its class."""
MEMORY_FACTOR = 1.5
MEMORY_SLACK_S = 0.25
"""The sweep may take `MEMORY_FACTOR` times its reference and this many seconds."""


class GradeReason(StrEnum):
    """Why a GPU got its credit."""

    PASSED = "passed"
    FALSE_OPENING = "false_opening"
    """Some GPU of the node opened falsely: the whole node counts nothing."""
    NO_RESULT = "no_result"
    """The session did not come to its end."""
    UNKNOWN_CLASS = "unknown_class"
    """The claimed GPU is not in the class table."""
    OTHER_SIZES = "other_sizes"
    """The session did not ask what the class asks."""
    SLOW = "slow"
    """Throughput below the class."""
    MEMORY = "memory"
    """The sweep took too long: part of the history was not in device memory."""


@dataclass(frozen=True, slots=True)
class GpuGrade:
    """One GPU's credit.

    Attributes:
        credit: 0 to 1.
        reason: why.
        tops: throughput as measured, 0 if the session did not come to it.
    """

    credit: float
    reason: GradeReason
    tops: float = 0.0


@dataclass(frozen=True, slots=True)
class Grade:
    """A node's credit.

    Attributes:
        credit: mean of its GPUs' credits, 0 to 1.
        reason: `PASSED`, or why the first GPU without credit got none.
        gpus: one grade for each GPU.
        cool_down: a false opening was found: do not challenge again for a while.
    """

    credit: float
    reason: GradeReason
    gpus: tuple[GpuGrade, ...]
    cool_down: bool = False


def grade(result: ProofResult, classes: Sequence[GpuClass | None]) -> Grade:
    """Grade a session.

    Args:
        result: the session's result.
        classes: the class that each GPU was claimed to be, in order; None for an unknown one.
    """
    if not result.passed:
        reasons = {result.reason, *(gpu.reason for gpu in result.gpus)}
        false = bool(reasons & FALSE_OPENINGS)
        reason = GradeReason.FALSE_OPENING if false else GradeReason.NO_RESULT
        return Grade(0.0, reason, tuple(GpuGrade(0.0, reason) for _ in classes), cool_down=false)
    gpus = tuple(
        _grade_gpu(gpu, gpu_class) for gpu, gpu_class in zip(result.gpus, classes, strict=True)
    )
    reason = next((gpu.reason for gpu in gpus if gpu.credit == 0), GradeReason.PASSED)
    return Grade(sum(gpu.credit for gpu in gpus) / len(gpus), reason, gpus)


def _grade_gpu(gpu: GpuResult, gpu_class: GpuClass | None) -> GpuGrade:
    if gpu_class is None:
        return GpuGrade(0.0, GradeReason.UNKNOWN_CLASS, gpu.tops)
    if gpu.sizes != gpu_class.sizes:
        return GpuGrade(0.0, GradeReason.OTHER_SIZES, gpu.tops)
    share = gpu.tops / gpu_class.reference_tops.value
    if share < PASS_SHARE:
        return GpuGrade(0.0, GradeReason.SLOW, gpu.tops)
    if gpu.sweep_s > MEMORY_FACTOR * gpu_class.sweep_reference_s.value + MEMORY_SLACK_S:
        return GpuGrade(0.0, GradeReason.MEMORY, gpu.tops)
    return GpuGrade(min(1.0, share), GradeReason.PASSED, gpu.tops)
