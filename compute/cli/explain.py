"""`compute explain`: what an error code means and what to do."""

from typing import Annotated

import typer

from compute.cli.output import table
from compute.cli.session import context
from compute.errors import Code, UsageError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("explain")(explain)


def explain(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(help="Code or exit code; none lists all.")] = "",
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
            {
                "code": c.spec.slug,
                "exit_code": c.spec.exit_code,
                "title": c.spec.title,
                "hint": c.spec.hint,
                "retryable": c.spec.retryable,
            }
            for c in found
        ],
        rows,
    )
