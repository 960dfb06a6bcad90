"""`compute schema`: what a verb prints with --json, as JSON Schema."""

import json
from typing import Annotated

import typer

from compute.cli.context import context
from compute.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("schema")(schema)


def _verbs(incomplete: str) -> list[str]:
    from compute.cli.schemas import names

    return [name for name in names() if name.startswith(incomplete)]


def schema(
    ctx: typer.Context,
    verb: Annotated[
        list[str] | None,
        typer.Argument(help="A verb, or 'error'; none lists them.", autocompletion=_verbs),
    ] = None,
) -> None:
    """Print the JSON Schema of what a verb prints with --json."""
    from compute.cli.schemas import names, published

    wanted = " ".join(verb or ())
    if not wanted:
        context(ctx).output.data(names(), text="\n".join(names()))
        return
    try:
        found = published(wanted)
    except KeyError:
        raise UsageError(
            f"there is no schema for '{wanted}'", hint="'compute schema' lists them"
        ) from None
    print(json.dumps(found, indent=2))  # noqa: T201 - a document
