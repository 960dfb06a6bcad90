"""`compute verify`: prove the hardware of one's own container."""

import asyncio
from typing import Annotated

import typer

from compute.adapters.ssh.session import SshSession
from compute.cli.names import Name
from compute.cli.session import context, run
from compute.domain.hardware import Gpu
from compute.errors import Code, LeaseError
from compute.probes import inside
from compute.probes.proof import InsideProof, prove_inside, require
from compute.renter.session import RenterSession


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    name: Name,
    units: Annotated[int, typer.Option(min=1, max=256, help="Places to open of each GPU.")] = 32,
    transcript: Annotated[str, typer.Option(help="Keep what others can re-check here.")] = "",
) -> None:
    """Prove the hardware inside your lease: your clock, your seeds, your check."""
    here = context(ctx)
    record = here.book.get(name)
    credentials = record.credentials
    if credentials is None:
        raise LeaseError(Code.LEASE_UNKNOWN, f"'{name}' has no credentials yet")
    key = here.book.keys(record.name).ssh.private

    async def prove(_session: RenterSession) -> tuple[tuple[Gpu, ...], InsideProof]:
        session = await asyncio.to_thread(SshSession, credentials, key)
        try:
            gpus = await asyncio.to_thread(inside.visible_gpus, session)
            here.output.progress(f"{len(gpus)} GPUs inside; proving")
            return gpus, await prove_inside(session, gpus, hotkey=record.miner, units=units)
        finally:
            await asyncio.to_thread(session.close)

    gpus, proof = run(here, prove)
    if transcript and proof.result.transcript:
        with open(transcript, "wb") as file:  # noqa: PTH123 - a path as the person typed it
            file.write(proof.result.transcript)
    summary = require(proof)
    here.output.data(
        {
            "passed": proof.result.passed,
            "gpus": [gpu.model_dump() for gpu in gpus],
            "classes": [each.name for each in proof.classes],
            "tops": proof.tops,
            "credit": proof.grade.credit,
            "summary": summary,
        },
        text=f"proven: {summary}\nnot proven: that nobody shares or relays the hardware, and "
        "anything about its network or disk (see docs/proof.md)",
    )
