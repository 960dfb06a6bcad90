"""`compute explain`: what an error code means and what to do."""

from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import table
from compute.domain.hardware import Value
from compute.errors import Code, UsageError


class Explained(Value):
    """One row of the error catalogue."""

    code: str
    exit_code: int
    title: str
    hint: str
    retryable: bool


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"explain": list[Explained]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("explain")(explain)


def _codes(incomplete: str) -> list[tuple[str, str]]:
    return [(c.spec.slug, c.spec.title) for c in Code if c.spec.slug.startswith(incomplete)]


def explain(
    ctx: typer.Context,
    code: Annotated[
        str, typer.Argument(help="Code or exit code; none lists all.", autocompletion=_codes)
    ] = "",
) -> None:
    """Explain an error code, or list them all."""
    output = context(ctx).output
    found = [c for c in Code if code in ("", c.spec.slug, str(c.spec.exit_code))]
    if not found:
        raise UsageError(f"there is no code '{code}'", hint="'compute explain' lists them all")
    rows = table("CODE", ">EXIT", "WHAT", "WHAT TO DO")
    for item in found:
        rows.add_row(item.spec.slug, str(item.spec.exit_code), item.spec.title, item.spec.hint)
    output.data(
        [
            Explained(
                code=item.spec.slug,
                exit_code=item.spec.exit_code,
                title=item.spec.title,
                hint=item.spec.hint,
                retryable=item.spec.retryable,
            )
            for item in found
        ],
        rows,
    )
