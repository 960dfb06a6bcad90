"""What a proof session found: frozen values."""

from dataclasses import dataclass
from enum import StrEnum

from compute.proof.sizes import Sizes
from compute.proof.wire import Mode


class Reason(StrEnum):
    """Why a session or an opening passed or did not."""

    PASSED = "passed"
    NOT_READY = "not_ready"
    """The prover has no such GPU, or not the memory, or computes wrongly by its own account."""
    MALFORMED = "malformed"
    """A message that is not what the session called for."""
    LATE = "late"
    """A message that came after its deadline."""
    CHANNEL = "channel"
    """The channel to the prover broke."""
    PATH = "path"
    """A leaf that does not belong to the commitment at the place that was asked for."""
    FOLD = "fold"
    """A row that does not fold to what was committed."""
    SEED = "seed"
    """A row of block 0 that the session's seed does not give."""
    PRODUCT = "product"
    """A row of C that is not the row times B."""
    ROUND = "round"
    """A row of block j that the round does not give."""
    SWEEP_PATH = "sweep_path"
    """A sweep leaf that does not belong to the second commitment."""
    SWEEP = "sweep"
    """A sweep word that the row does not give."""


FALSE_OPENINGS = frozenset(
    {
        Reason.PATH,
        Reason.FOLD,
        Reason.SEED,
        Reason.PRODUCT,
        Reason.ROUND,
        Reason.SWEEP_PATH,
        Reason.SWEEP,
    }
)
"""Reasons that no honest prover can meet: the node scores zero and cools down."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of checking one GPU's opening.

    Attributes:
        reason: `PASSED`, or the first check that failed.
        unit: position of the first unit that failed it, or None.
    """

    reason: Reason
    unit: int | None = None


@dataclass(frozen=True, slots=True)
class GpuResult:
    """What was measured and opened of one GPU.

    Attributes:
        gpu: position in the session.
        sizes: what it was asked to do.
        reason: `PASSED`, or what its opening failed.
        chain_s: from START to root_A, on the validator's clock.
        sweep_s: the faster of the two sweeps.
        opened: units that were opened.
        root_a: commitment to the history.
        root_b: commitment of the faster sweep.
        path: kernels that the prover says it used: a claim.
        device: name that the prover gives its device: a claim.
        memory_bytes: device memory that the prover states: a claim.
    """

    gpu: int
    sizes: Sizes
    reason: Reason
    chain_s: float
    sweep_s: float
    opened: int
    root_a: bytes
    root_b: bytes
    path: str
    device: str
    memory_bytes: int

    @property
    def tops(self) -> float:
        """Sustained integer throughput in 10^12 operations a second, 2n³(M-1) / chain_s."""
        return self.sizes.operations / max(self.chain_s, 1e-9) / 1e12


@dataclass(frozen=True, slots=True)
class ProofResult:
    """The outcome of one session.

    Attributes:
        passed: every opening of every GPU holds; speed and memory are judged by `grade`.
        reason: `PASSED`, or the first thing that went wrong.
        detail: one line for a person.
        mode: how rows of C were obtained.
        gpus: one result for each GPU; empty if the session did not come to its openings.
        transcript: in mode R what anyone needs to check again, else empty.
    """

    passed: bool
    reason: Reason
    detail: str
    mode: Mode
    gpus: tuple[GpuResult, ...] = ()
    transcript: bytes = b""
