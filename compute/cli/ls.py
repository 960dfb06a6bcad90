"""`compute ls`: what the miners of the subnet offer."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.cli.session import run
from compute.domain.metagraph import Metagraph
from compute.errors import ComputeError

if TYPE_CHECKING:
    from compute.renter.client import Offer
    from compute.renter.session import RenterSession


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.cli.offers import Offered

    return {"ls": list[Offered]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ls")(ls)


def ls(
    ctx: typer.Context,
    gpu: Annotated[str, typer.Option(help="Part of the GPU's name.")] = "",
    count: Annotated[int, typer.Option(min=0, help="GPUs that are free.")] = 0,
    gpu_memory: Annotated[str, typer.Option(help="Least memory of each GPU: 40g.")] = "0",
    cpus: Annotated[int, typer.Option(min=1, help="Free processors.")] = 1,
    memory: Annotated[str, typer.Option(help="Free memory: 8g.")] = "64m",
    reliability: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Least share of passed checks, by the validator whose --state it is."
        ),
    ] = 0.0,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that cannot be had now.")
    ] = False,
) -> None:
    """List offers: what each miner claims and has free."""
    from compute.cli.offers import offered, reliabilities
    from compute.renter.wishes import wish
    from compute.renter.words import Words

    here = context(ctx)
    said = Words(gpu=gpu, count=count, gpu_memory=gpu_memory, cpus=cpus, memory=memory)
    wanted = wish(said).requirement
    known = reliabilities(here, needed=bool(reliability))

    async def ask(
        session: "RenterSession",
    ) -> "tuple[Metagraph, list[Offer], dict[int, ComputeError]]":
        metagraph = await session.chain.metagraph()
        offers, faults = await session.renter.offers(metagraph)
        return metagraph, offers, faults

    metagraph, offers, faults = run(here, ask)
    shown = [
        row
        for row in (offered(offer, metagraph, known, wanted) for offer in offers)
        if (everything or row.fits) and (row.reliability or 0.0) >= reliability
    ]
    rows = table(
        *(">UID", "GPUs", ">CPUS", ">MEMORY", ">DISK", ">FREE LEASES", ">RELIABLE"),
        *(">INCENTIVE", ">MS", "MINER"),
        spare=("MS", "INCENTIVE", "RELIABLE"),
    )
    for row in shown:
        rows.add_row(*row.cells())
    here.output.data(shown, rows, empty="no miner has this free; --all shows the others")
    for uid, error in faults.items():
        here.output.progress(f"UID {uid}: {error}")
