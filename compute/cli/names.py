"""The NAME argument of the verbs, with completion from the renter's own lease book."""

from typing import Annotated

import typer

from compute.cli.context import Context
from compute.errors import ComputeError


def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of the leases that are not over, with where each is; none from a damaged book."""
    typed = ctx.find_root().params
    flags = {name: str(typed[name]) for name in ("config", "state") if typed.get(name)}
    try:
        records = Context(flags).book.all()
    except ComputeError:
        return []
    return [
        (record.name, record.address)
        for record in records
        if not record.ended and record.name.startswith(incomplete)
    ]


Name = Annotated[str, typer.Argument(help="Name or id of a lease.", autocompletion=complete)]
