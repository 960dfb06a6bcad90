"""`compute validator export`: the evidence, for somebody else to check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.validator.standing import evidence_of, looking
from compute.domain.hardware import Count, Value
from compute.errors import Code, ComputeError


class Exported(Value):
    """What was written where."""

    file: str
    records: Count


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"validator export": Exported}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(export)


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of JSON lines to write.")],
    after: Annotated[int, typer.Option(min=0, help="Leave out records up to this one.")] = 0,
) -> None:
    """Write the evidence into a file, which 'compute weights replay' checks on any machine."""
    here = context(ctx)
    with looking(here) as engine:
        try:
            count = evidence_of(engine).export(file, after=after)
        except OSError as error:
            raise ComputeError(Code.STORAGE_FAILED, f"{file}: {error.strerror}") from error
    here.output.data(Exported(file=str(file), records=count), text=f"{count} records are in {file}")
