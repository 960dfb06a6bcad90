"""`compute restart`, `pause` and `unpause`: operations without arguments."""

import typer

from compute.cli.names import Name
from compute.cli.session import context, run
from compute.protocol.synapses import LeaseAction


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("restart")(restart)
    app.command("pause")(pause)
    app.command("unpause")(unpause)


def restart(ctx: typer.Context, name: Name) -> None:
    """Restart a lease's container; its disk is kept."""
    _operate(ctx, name, LeaseAction.RESTART)


def pause(ctx: typer.Context, name: Name) -> None:
    """Freeze a lease's processes; its deadline stays."""
    _operate(ctx, name, LeaseAction.PAUSE)


def unpause(ctx: typer.Context, name: Name) -> None:
    """Let a paused lease go on."""
    _operate(ctx, name, LeaseAction.UNPAUSE)


def _operate(ctx: typer.Context, name: str, action: LeaseAction) -> None:
    here = context(ctx)
    record = here.book.get(name)
    reply = run(here, lambda session: session.renter.operate(record, action))
    here.output.data(reply, text=f"{record.name} is {reply.state}")
