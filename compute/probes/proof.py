"""Proves the hardware of a leased container from inside, for a probe and for the renter himself.

The prover is copied in over SSH; who runs this keeps the clock and checks the openings, so that
nothing has to be believed.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from compute.adapters.ssh.channel import SshProverChannel
from compute.adapters.ssh.session import SshSession
from compute.domain.hardware import Gpu
from compute.errors import Code, ProofError, UsageError
from compute.proof.channel import run_verifier
from compute.proof.classes import GpuClass, known_classes
from compute.proof.grade import Grade, GradeReason, grade
from compute.proof.program import prover_program
from compute.proof.result import ProofResult
from compute.proof.slot import Slot, SlotTables
from compute.proof.verifier import GpuPlan, SessionPlan, VerifierSession
from compute.proof.wire import Mode

CPU_CLASS = "cpu-dev"
# A transcript of mode R needs whole rows and no secret; up to this n checking it costs under 0.1 s.
RECOMPUTE_UP_TO = 2048


@dataclass(frozen=True, slots=True)
class InsideProof:
    """What was proven inside a container.

    Attributes:
        classes: what each GPU was asked to prove; the development class where there is none.
        grade: by the class table; a development class proves the protocol, not the hardware.
    """

    result: ProofResult
    classes: tuple[GpuClass, ...]
    grade: Grade

    @property
    def tops(self) -> float:
        """Sustained integer throughput of all GPUs together, in 10^12 operations a second."""
        return sum(gpu.tops for gpu in self.result.gpus)

    @property
    def development(self) -> bool:
        """Whether there was no GPU: correct arithmetic was proven and nothing else."""
        return all(each.development for each in self.classes)

    def summary(self) -> str:
        """One line for a person: what was proven and what was not."""
        if not self.result.passed:
            return f"{self.result.reason}: {self.result.detail}"
        took = max((gpu.chain_s for gpu in self.result.gpus), default=0.0)
        figures = (
            f"{self.tops:.4g} TOPS in {took:.2f} s, {self.result.gpus[0].opened} openings hold"
        )
        if self.development:
            return f"{figures}; no GPU here: exact arithmetic on a CPU, no hardware class"
        names = ", ".join(each.name for each in self.classes)
        return f"{len(self.classes)} GPUs as {names}: {figures}, credit {self.grade.credit:.2f}"


def classes_of(gpus: Sequence[Gpu]) -> tuple[GpuClass, ...]:
    """The class of each GPU, or the development class where there is none.

    Raises:
        UsageError: for a GPU that the class table does not know.
    """
    table = known_classes()
    if not gpus:
        development = table.named(CPU_CLASS)
        return (development,) if development else ()
    found = []
    for gpu in gpus:
        known = table.of_model(gpu.model)
        if known is None or known.development:  # a GPU does not pass as a mere processor
            raise UsageError(
                f"'{gpu.model}' is not in the class table, so nothing can be proven of it",
                code=Code.UNSUPPORTED,
                hint="measure a trusted one with 'compute calibrate' and add it to the table",
            )
        found.append(known)
    return tuple(found)


async def prove_inside(
    session: SshSession, gpus: Sequence[Gpu], *, hotkey: str = "", units: int = 32
) -> InsideProof:
    """Run the whole proof in a container that one is logged in to.

    Args:
        session: logged in; Python 3.9 and NumPy are needed inside.
        gpus: what the container should have, in the order of their indices; empty: no GPU.
        hotkey: the miner's, which the seeds are bound to.
        units: places opened of each GPU.
    """
    classes = classes_of(gpus)
    slot = Slot.fresh(secrets.token_bytes)
    largest = max(each.sizes.n for each in classes)
    mode = Mode.RECOMPUTE if largest <= RECOMPUTE_UP_TO else Mode.FREIVALDS
    tables: tuple[SlotTables, ...] = ()
    if mode is Mode.FREIVALDS:
        widths = sorted({each.sizes.n for each in classes})
        tables = tuple([await asyncio.to_thread(slot.tables, n) for n in widths])
    claims = [gpu.uuid for gpu in gpus] or [CPU_CLASS]
    plan = SessionPlan(
        slot=slot,
        gpus=tuple(
            GpuPlan(each.sizes, slot.sub(hotkey, claim, index), claim)
            for index, (each, claim) in enumerate(zip(classes, claims, strict=True))
        ),
        hotkey=hotkey,
        units=units,
        mode=mode,
        limits=max((each.limits for each in classes), key=lambda limits: limits.chain_s),
        tables=tables,
    )
    async with SshProverChannel(session, prover_program()) as channel:
        verifier = VerifierSession(plan, secrets.token_bytes)
        result = await run_verifier(verifier, channel, time.monotonic)
    return InsideProof(result, classes, grade(result, classes))


def require(proof: InsideProof) -> str:
    """The summary of a proof that holds.

    Raises:
        ProofError: `PROOF_FAILED` when an opening does not hold or the class is missed.
    """
    if not proof.result.passed:
        raise ProofError(Code.PROOF_FAILED, proof.summary())
    if not proof.development and proof.grade.reason is not GradeReason.PASSED:
        slow = proof.grade.reason is GradeReason.SLOW
        raise ProofError(
            Code.PROOF_LATE if slow else Code.PROOF_FAILED,
            f"{proof.grade.reason}: {proof.summary()}",
        )
    return proof.summary()
