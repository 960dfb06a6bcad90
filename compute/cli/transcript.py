"""`compute transcript verify`: a proof session, checked again by anybody."""

from pathlib import Path
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.domain.hardware import Value
from compute.errors import Code, ProofError, UsageError

MOST_BYTES = 1 << 30


class Checked(Value):
    """One GPU of a transcript.

    Attributes:
        claim: what the miner claimed it to be.
        n, blocks: the sizes that it was challenged at.
        units: places that were opened.
        bound: whether its seed belongs to the miner's hotkey and to this claim.
        reason: `passed`, or which check failed.
        chain_s, sweep_s: by the validator's clock; not proven.
    """

    claim: str
    n: int
    blocks: int
    units: int
    bound: bool
    reason: str
    chain_s: float
    sweep_s: float


class Transcript(Value):
    """What checking a transcript again found."""

    hotkey: str
    passed: bool
    gpus: tuple[Checked, ...]


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {"transcript verify": Transcript}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Check proofs again.", no_args_is_help=True)
    group.command("verify")(verify)
    group.callback()(_group)
    app.add_typer(group, name="transcript")


def _group() -> None:
    """Check proofs again."""


def verify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="As 'compute verify --transcript' keeps it.")],
) -> None:
    """Check a proof session again, without any secret."""
    from compute.proof.transcript import verify_transcript

    report = verify_transcript(_read(file))
    gpus = tuple(
        Checked(
            claim=entry.claim,
            n=entry.check.sizes.n,
            blocks=entry.check.sizes.blocks,
            units=len(entry.check.units),
            bound=bound,
            reason=str(verdict.reason),
            chain_s=entry.chain_s,
            sweep_s=entry.sweep_s,
        )
        for entry, bound, verdict in zip(
            report.transcript.entries, report.bound, report.verdicts, strict=True
        )
    )
    found = Transcript(hotkey=report.transcript.hotkey, passed=report.passed, gpus=gpus)
    if not found.passed:
        bad = next(gpu for gpu in gpus if not gpu.bound or gpu.reason != "passed")
        why = bad.reason if bad.bound else "its seed belongs to another miner or claim"
        raise ProofError(Code.PROOF_FAILED, f"{bad.claim}: {why}")
    rows = table("CLAIM", ">N", ">BLOCKS", ">OPENED", "RESULT", ">CHAIN S", ">SWEEP S")
    for gpu in gpus:
        rows.add_row(
            *(gpu.claim, str(gpu.n), str(gpu.blocks), str(gpu.units), gpu.reason),
            *(f"{gpu.chain_s:.3f}", f"{gpu.sweep_s:.3f}"),
        )
    here = context(ctx).output
    here.data(found, rows)
    here.progress(f"every opening holds for {found.hotkey}; the times are its validator's word")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is too large for a transcript")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
