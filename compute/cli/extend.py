"""`compute extend`: a later deadline."""

import time
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.cli.output import duration
from compute.cli.session import run


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.protocol.synapses import LeaseReply

    return {"extend": LeaseReply}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("extend")(extend)


def extend(
    ctx: typer.Context,
    name: Name,
    by: Annotated[str, typer.Argument(help="How much longer: 30m, 2h.")],
) -> None:
    """Move a lease's deadline, within the miner's longest lease."""
    from compute.protocol.synapses import LeaseAction, LeaseArguments
    from compute.renter import parsing

    here = context(ctx)
    record = here.book.get(name)
    arguments = LeaseArguments(duration_s=parsing.seconds(by))
    reply = run(here, lambda s: s.renter.operate(record, LeaseAction.EXTEND, arguments))
    here.output.data(
        reply, text=f"{record.name} has {duration(reply.expires_at - time.time())} left"
    )
