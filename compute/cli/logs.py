"""`compute logs`: the last lines that a lease's container wrote."""

import time
from typing import Annotated

import typer

from compute.cli.names import Name
from compute.cli.session import context, run
from compute.protocol.synapses import LeaseAction, LeaseArguments

FOLLOW_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("logs")(logs)


def logs(
    ctx: typer.Context,
    name: Name,
    tail: Annotated[int, typer.Option(min=1, max=2000, help="How many lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
) -> None:
    """Print the container's log."""
    here = context(ctx)
    record = here.book.get(name)
    shown = ""
    arguments = LeaseArguments(tail=tail)
    while True:
        reply = run(here, lambda s: s.renter.operate(record, LeaseAction.LOGS, arguments))
        fresh = reply.logs.removeprefix(shown) if reply.logs.startswith(shown) else reply.logs
        if fresh or not follow:
            here.output.data({"logs": fresh}, text=fresh.rstrip("\n"))
        if not follow or reply.ended_at is not None:
            return
        shown = reply.logs
        time.sleep(FOLLOW_S)
