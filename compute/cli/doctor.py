"""`compute doctor`: what is wrong with this machine, and what to do."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.output import table
from compute.errors import UsageError

if TYPE_CHECKING:
    from compute.probes.exam import Exam


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.probes.report import ProbeReport

    return {"doctor": ProbeReport}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    part: Annotated[str, typer.Option(help="miner, validator or renter.")] = "miner",
    check: Annotated[
        list[str] | None, typer.Option(help="Make this check only, and what it needs.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, a setting of the neuron: axon.port=8091."),
    ] = None,
) -> int:
    """Check this machine: engine, disk, GPUs, firewall, keys, chain, clock, ports.

    Its exit code is that of the check that failed, 90 when several did, 0 when none did.
    """
    from compute.probes.checker import exit_code
    from compute.probes.doctor import examine

    here = context(ctx)
    exam = _exam(here, part, settings or [])
    with here.output.busy("looking at this machine") as tell:
        report = asyncio.run(examine(exam, check or (), lambda made: tell(made.name)))
    rows = table("CHECK", "RESULT", "FOUND", "WHAT TO DO")
    for made in report.checks:
        rows.add_row(made.name, str(made.outcome), made.reason, made.remedy)
    here.output.data(report, rows)
    return exit_code([report])


def _exam(here: Context, part: str, more: list[str]) -> "Exam":
    from compute.probes.exam import Exam, Part
    from compute.settings.roles import MinerSettings, ValidatorSettings

    if part not in set(Part):
        raise UsageError(f"there is no part '{part}'", hint=f"one of {', '.join(Part)}")
    if part == Part.RENTER:
        return Exam(Part.RENTER, here.settings)
    if part == Part.VALIDATOR:
        return Exam(Part.VALIDATOR, here.role(ValidatorSettings, more))
    from compute.cli.miner.here import running

    own = here.role(MinerSettings, more)
    return Exam(Part.MINER, own, running=running(own.state))
