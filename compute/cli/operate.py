"""`compute restart`, `pause` and `unpause`: operations without arguments."""

from typing import Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.cli.session import run


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    from compute.protocol.synapses import LeaseReply

    return dict.fromkeys(("restart", "pause", "unpause"), LeaseReply)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("restart")(restart)
    app.command("pause")(pause)
    app.command("unpause")(unpause)


def restart(ctx: typer.Context, name: Name) -> None:
    """Restart a lease's container. Its disk is kept."""
    _operate(ctx, name, "restart")


def pause(ctx: typer.Context, name: Name) -> None:
    """Freeze a lease's processes. Its deadline stays."""
    _operate(ctx, name, "pause")


def unpause(ctx: typer.Context, name: Name) -> None:
    """Let a paused lease go on."""
    _operate(ctx, name, "unpause")


def _operate(ctx: typer.Context, name: str, action: str) -> None:
    from compute.protocol.synapses import LeaseAction

    here = context(ctx)
    record = here.book.get(name)
    reply = run(here, lambda session: session.renter.operate(record, LeaseAction(action)))
    here.output.data(reply, text=f"{record.name} is {reply.state}")
