"""`compute show`: one lease as its miner sees it, with its timeline."""

import time
from typing import TYPE_CHECKING, Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.cli.output import duration, table
from compute.cli.quote import grants
from compute.cli.session import run
from compute.cli.showing import after, precise_clock

if TYPE_CHECKING:
    from compute.protocol.synapses import LeaseReply


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.protocol.synapses import LeaseReply

    return {"show": LeaseReply}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("show")(show)


def show(ctx: typer.Context, name: Name) -> None:
    """Show a lease's state and everything that happened to it."""
    from compute.protocol.synapses import LeaseAction

    here = context(ctx)
    record = here.book.get(name)
    reply = run(here, lambda session: session.renter.operate(record, LeaseAction.STATUS))
    rows = table("WHEN", ">AFTER", "EVENT", "DETAIL")
    for event in reply.events:
        rows.add_row(
            precise_clock(event.at), after(event.at - reply.created_at), event.event, event.detail
        )
    here.output.data(reply, text=_headline(record.name, reply))
    if not here.output.as_json:
        here.output.data(None, rows)


def _headline(name: str, reply: "LeaseReply") -> str:
    left = f", {duration(reply.expires_at - time.time())} left" if reply.ended_at is None else ""
    why = f" ({reply.reason})" if reply.reason else ""
    gone = "\nits teardown is signed: " + ", ".join(reply.teardown.checks) if reply.teardown else ""
    return f"{name}: {reply.state}{why}{left}\n{grants(reply.requirement)}{gone}\n"
