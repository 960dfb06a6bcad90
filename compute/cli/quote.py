"""`compute quote`: who could grant a lease now, before one is made."""

from typing import TYPE_CHECKING, Any

import typer

from compute.cli.context import Context, context
from compute.cli.output import counted, duration, table
from compute.cli.session import run
from compute.cli.wishing import Miner, wishing
from compute.renter.words import Words

if TYPE_CHECKING:
    from compute.domain.requirement import Requirement
    from compute.renter.client import Wish


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.renter.leasing import Quote

    return {"quote": list[Quote]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("quote")(quote)


@wishing
def quote(ctx: typer.Context, words: Words, miner: Miner = "") -> None:
    """Ask who could grant a lease now. Nothing is reserved."""
    from compute.renter.wishes import wish

    show_quotes(context(ctx), wish(words), miner)


def show_quotes(here: Context, wanted: "Wish", miner: str) -> None:
    """Ask the candidates and print what they say."""
    from compute.renter.leasing import quotes

    answers = run(here, lambda s: quotes(s, wanted, miner, here.output.progress))
    rows = table(">UID", "MINER", "NOW", "GRANTS", "FOR", "ADDRESS", spare=("ADDRESS", "FOR"))
    for answer in answers:
        rows.add_row(
            str(answer.uid),
            answer.miner[:8] + "…",
            "available" if answer.available else answer.why,
            grants(answer.requirement),
            duration(answer.duration_s),
            answer.address,
        )
    here.output.data(answers, rows)


def grants(requirement: "Requirement | None") -> str:
    """A requirement in few words."""
    if requirement is None:
        return "-"
    gpus = f"{requirement.gpus} × {requirement.gpu_model or 'GPU'}, " if requirement.gpus else ""
    cpus = counted(requirement.cpus, "CPU")
    return (
        f"{gpus}{cpus}, {requirement.memory_mib / 1024:.1f} GiB memory, "
        f"{requirement.disk_mib / 1024:.0f} GiB disk"
    )
