"""`compute show`: one lease as its miner sees it, with its timeline."""

import time
from datetime import UTC, datetime

import typer

from compute.cli.names import Name
from compute.cli.output import duration, table
from compute.cli.session import context, run
from compute.protocol.synapses import LeaseAction, LeaseReply


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("show")(show)


def show(ctx: typer.Context, name: Name) -> None:
    """Show a lease's state and everything that happened to it."""
    here = context(ctx)
    record = here.book.get(name)
    reply = run(here, lambda session: session.renter.operate(record, LeaseAction.STATUS))
    here.output.data(reply, text=_headline(record.name, reply))
    if here.output.as_json:
        return
    rows = table("WHEN", "EVENT", "DETAIL")
    for event in reply.events:
        rows.add_row(_clock(event.at), event.event, event.detail)
    here.output.data(None, rows)


def _headline(name: str, reply: LeaseReply) -> str:
    left = f", {duration(reply.expires_at - time.time())} left" if reply.ended_at is None else ""
    why = f" ({reply.reason})" if reply.reason else ""
    wanted = reply.requirement
    return (
        f"{name}: {reply.state}{why}{left}\n"
        f"{wanted.gpus} GPUs, {wanted.cpus} CPUs, {wanted.memory_mib} MiB memory, "
        f"{wanted.disk_mib} MiB disk\n"
    )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
