"""From a claim to what has to be proven, and from a proof to what it is worth: the class table."""

from collections.abc import Sequence
from typing import NamedTuple

from compute.domain.evidence import Reason
from compute.domain.measurement import CPU, CPU_CLASS, PPM, ClaimedGpu, ProvenGpu
from compute.proof.classes import ClassTable, GpuClass
from compute.proof.grade import GradeReason, grade
from compute.proof.result import ProofResult
from compute.proof.sizes import MAX_GPUS

_REASONS = {
    GradeReason.PASSED: Reason.OK,
    GradeReason.FALSE_OPENING: Reason.OPENING_FAILED,
    GradeReason.UNKNOWN_CLASS: Reason.UNKNOWN_GPU,
    GradeReason.SLOW: Reason.SLOW,
    GradeReason.MEMORY: Reason.MEMORY_SHORT,
}


class Assignment(NamedTuple):
    """What one claimed GPU (or the CPU) is asked to prove.

    Attributes:
        gpu: UUID, or `cpu`.
        gpu_class: row of the class table.
    """

    gpu: str
    gpu_class: GpuClass


class Plan(NamedTuple):
    """What a whole claim has to prove.

    Attributes:
        work: one assignment for each GPU of a known class.
        unknown: claimed GPUs that the class table does not know, no more than can be proven: each
            is an entry in every proof, and a claim may name thousands.
    """

    work: tuple[Assignment, ...]
    unknown: tuple[ClaimedGpu, ...] = ()


def plan(gpus: Sequence[ClaimedGpu], table: ClassTable) -> Plan:
    """Plan what a miner with this claim has to prove; only its processor if it claims no GPU."""
    if not gpus:
        cpu = table.named(CPU_CLASS)
        return Plan((Assignment(CPU, cpu),) if cpu else ())
    once = {gpu.uuid: gpu for gpu in gpus}.values()  # one device is one device
    known = [(gpu, _hardware(table.of_model(gpu.model))) for gpu in once]
    return Plan(
        tuple(Assignment(gpu.uuid, found) for gpu, found in known if found)[:MAX_GPUS],
        tuple(gpu for gpu, found in known if found is None)[:MAX_GPUS],
    )


def _hardware(found: GpuClass | None) -> GpuClass | None:
    """A class that a GPU can have: a processor must not pass under a GPU's name."""
    return None if found is None or found.name == CPU_CLASS else found


def worth(work: Sequence[Assignment], result: ProofResult) -> tuple[ProvenGpu, ...]:
    """What each GPU of a session has earned; nothing if the session has no results."""
    if not result.gpus:
        return ()
    grades = grade(result, [assignment.gpu_class for assignment in work]).gpus
    return tuple(
        ProvenGpu(
            gpu=assignment.gpu,
            gpu_class=assignment.gpu_class.name,
            credit_ppm=int(graded.credit * PPM),
            reason=_REASONS.get(graded.reason, Reason.OUR_FAULT),
            tops_milli=int(measured.tops * 1000),
            chain_ms=int(measured.chain_s * 1000),
            sweep_ms=int(measured.sweep_s * 1000),
            memory_mib=measured.sizes.history_bytes >> 20,
        )
        for assignment, graded, measured in zip(work, grades, result.gpus, strict=True)
    )


def leased(work: Sequence[Assignment]) -> tuple[ProvenGpu, ...]:
    """The entries of GPUs that could not be proven now, because they are leased out."""
    return tuple(
        ProvenGpu(
            gpu=assignment.gpu,
            gpu_class=assignment.gpu_class.name,
            credit_ppm=0,
            reason=Reason.BUSY,
        )
        for assignment in work
    )


def unknown(gpus: Sequence[ClaimedGpu]) -> tuple[ProvenGpu, ...]:
    """The explicit zeros of GPUs that the class table does not know."""
    return tuple(
        ProvenGpu(gpu=gpu.uuid, gpu_class="", credit_ppm=0, reason=Reason.UNKNOWN_GPU)
        for gpu in gpus
    )
