"""`compute ls`: what the miners of the subnet offer."""

from typing import Annotated, Any

import typer

from compute.cli import parsing
from compute.cli.output import table
from compute.cli.session import context, run
from compute.domain.metagraph import Metagraph
from compute.domain.requirement import Requirement
from compute.errors import ComputeError
from compute.renter.client import Offer
from compute.renter.session import RenterSession


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ls")(ls)


def ls(
    ctx: typer.Context,
    gpu: Annotated[str, typer.Option(help="Part of the GPU's name.")] = "",
    count: Annotated[int, typer.Option(min=0, help="GPUs that are free.")] = 0,
    memory: Annotated[str, typer.Option(help="Free memory: 8g.")] = "64m",
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that cannot be had now.")
    ] = False,
) -> None:
    """List offers: what each miner claims and what is free now."""
    here = context(ctx)
    wanted = Requirement(
        gpus=count or (1 if gpu else 0), gpu_model=gpu, memory_mib=parsing.mebibytes(memory)
    )

    async def ask(
        session: RenterSession,
    ) -> tuple[Metagraph, list[Offer], dict[int, ComputeError]]:
        metagraph = await session.chain.metagraph()
        offers, faults = await session.renter.offers(metagraph)
        return metagraph, offers, faults

    metagraph, offers, faults = run(here, ask)
    shown = [offer for offer in offers if everything or offer.fits(wanted)]
    rows = table(">UID", "GPUs", ">CPUS", ">MEMORY", ">DISK", ">FREE LEASES", ">INCENTIVE", ">MS")
    for offer in shown:
        free = offer.specs.free
        incentive = metagraph.neurons[offer.uid].incentive
        rows.add_row(
            str(offer.uid),
            _gpus(offer),
            f"{free.cpus}/{offer.specs.total.cpus}",
            f"{free.memory_mib / 1024:.1f} GiB",
            f"{free.disk_mib / 1024:.0f} GiB",
            str(free.leases),
            f"{incentive:.4f}",
            f"{offer.elapsed_s * 1000:.0f}",
        )
    here.output.data([_plain(offer) for offer in shown], rows)
    for uid, error in faults.items():
        here.output.progress(f"UID {uid}: {error}")


def _gpus(offer: Offer) -> str:
    models = [gpu.model for host in offer.specs.hosts for gpu in host.gpus]
    counted = {model: models.count(model) for model in models}
    return ", ".join(f"{number} × {model}" for model, number in counted.items()) or "none"


def _plain(offer: Offer) -> dict[str, Any]:
    return {
        "uid": offer.uid,
        "miner": offer.peer.hotkey,
        "address": offer.peer.address,
        "ms": round(offer.elapsed_s * 1000, 1),
        "specs": offer.specs,
    }
