"""`compute verify`: prove the hardware of one's own container."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.names import Name, reachable
from compute.cli.output import counted
from compute.domain.hardware import Gpu, Value
from compute.errors import Code, ComputeError

if TYPE_CHECKING:
    from compute.probes.proof import InsideProof
    from compute.renter.book import LeaseRecord


class Verified(Value):
    """What was proven inside a lease.

    Attributes:
        gpus: as the driver shows them inside.
        classes: what each was asked to prove.
        tops: sustained integer throughput of all together, 10^12 operations a second.
        credit: by the class table, at most 1.
        transcript: where it was kept, or empty.
    """

    passed: bool
    gpus: tuple[Gpu, ...]
    classes: tuple[str, ...]
    tops: float
    credit: float
    summary: str
    transcript: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"verify": Verified}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    name: Name,
    units: Annotated[int, typer.Option(min=1, max=256, help="Places to open of each GPU.")] = 32,
    transcript: Annotated[
        str, typer.Option(help="Keep what others can re-check here.", metavar="FILE")
    ] = "",
) -> None:
    """Prove the hardware inside your lease: your clock, your seeds, your check."""
    from compute.probes.proof import require

    here = context(ctx)
    gpus, proof = asyncio.run(_prove(here, reachable(here, name), units))
    kept = _keep(transcript, proof.result.transcript)
    summary = require(proof)
    here.output.data(
        Verified(
            passed=proof.result.passed,
            gpus=gpus,
            classes=tuple(each.name for each in proof.classes),
            tops=proof.tops,
            credit=proof.grade.credit,
            summary=summary,
            transcript=kept,
        ),
        text=f"proven: {summary}\nnot proven: that nobody shares or relays the hardware, and "
        "anything about its network or disk (see docs/proof.md)",
    )


async def _prove(
    here: Context, record: "LeaseRecord", units: int
) -> "tuple[tuple[Gpu, ...], InsideProof]":
    from compute.adapters.ssh.session import SshSession
    from compute.probes import inside
    from compute.probes.proof import prove_inside

    key = here.book.keys(record.name).ssh.private
    session = await asyncio.to_thread(SshSession, record.opened, key)
    try:
        gpus = await asyncio.to_thread(inside.visible_gpus, session)
        here.output.progress(f"{counted(len(gpus), 'GPU') if gpus else 'no GPU'} inside; proving")
        return gpus, await prove_inside(session, gpus, hotkey=record.miner, units=units)
    finally:
        await asyncio.to_thread(session.close)


def _keep(path: str, transcript: bytes) -> str:
    """Write a transcript where one was asked for and there is one."""
    if not path or not transcript:
        return ""
    try:
        Path(path).write_bytes(transcript)
    except OSError as error:
        raise ComputeError(Code.STORAGE_FAILED, f"{path}: {error.strerror}") from error
    return path
