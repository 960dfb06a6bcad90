"""`compute logs`: the last lines that a lease's container wrote."""

import time
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.cli.session import run
from compute.domain.hardware import Value

FOLLOW_S = 2.0


class Logged(Value):
    """Lines of a container's log; with --follow, one such document a line."""

    logs: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"logs": Logged}


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
    from compute.protocol.synapses import LeaseAction, LeaseArguments

    here = context(ctx)
    record = here.book.get(name)
    shown = ""
    arguments = LeaseArguments(tail=tail)
    while True:
        reply = run(here, lambda s: s.renter.operate(record, LeaseAction.LOGS, arguments))
        fresh = _fresh(shown, reply.logs)
        if fresh or not follow:
            here.output.line(Logged(logs=fresh), fresh)
        if not follow or reply.ended_at is not None:
            return
        shown = reply.logs
        time.sleep(FOLLOW_S)


def _fresh(shown: str, now: str) -> str:
    """What a log has that was not shown yet, though its oldest lines may have fallen off."""
    lines, known = now.splitlines(keepends=True), shown.splitlines(keepends=True)
    for overlap in range(min(len(lines), len(known)), 0, -1):
        if known[-overlap:] == lines[:overlap]:
            return "".join(lines[overlap:])
    return now
