"""The NAME argument of the verbs, with completion from the renter's own lease book."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from compute.cli.context import Context
from compute.errors import Code, ComputeError, LeaseError

if TYPE_CHECKING:
    from compute.renter.book import LeaseRecord


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


def reachable(here: Context, name: str) -> "LeaseRecord":
    """A lease that can be logged in to, by what this machine knows of it.

    Raises:
        LeaseError: `LEASE_UNKNOWN` for none, or one that was never answered; `LEASE_STATE` for one
            that is over.
    """
    record = here.book.get(name)
    _ = record.opened
    if record.standing(time.time()) == "over":
        raise LeaseError(
            Code.LEASE_STATE,
            f"{record.name} is over",
            hint=f"'compute show {record.name}' asks its miner what happened, 'compute up' makes "
            "another",
        )
    return record


Name = Annotated[str, typer.Argument(help="Name or id of a lease.", autocompletion=complete)]
