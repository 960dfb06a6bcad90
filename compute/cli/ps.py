"""`compute ps`: the renter's own leases."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import duration, table
from compute.cli.session import run
from compute.errors import Code, ComputeError

if TYPE_CHECKING:
    from compute.renter.book import LeaseRecord
    from compute.renter.session import RenterSession


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.cli.listed import Listed

    return {"ps": list[Listed]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ps")(ps)


def ps(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended ones too.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", "-r", help="Ask the miners how they are now.")
    ] = False,
) -> None:
    """List your leases, from the book on this machine."""
    from compute.cli.listed import listed

    here = context(ctx)
    now = time.time()
    records = [r for r in here.book.all() if everything or r.standing(now) != "over"]
    states = {r.name: r.standing(now) for r in records}
    if refresh and records:
        states |= run(here, lambda session: _ask(session, records))
        records = [here.book.get(record.name) for record in records]
    rows = table("NAME", "STATE", "LEFT", "ADDRESS", "MINER", "LEASE")
    for record in records:
        held = record.credentials
        rows.add_row(
            record.name,
            states[record.name],
            duration(held.expires_at - now) if held else "-",
            f"{held.host}:{held.port}" if held else "-",
            record.miner[:8] + "…",
            held.lease_id[:12] if held else "-",
        )
    here.output.data(
        [listed(record, states[record.name]) for record in records],
        rows,
        empty="no leases; 'compute up' makes one",
    )


async def _ask(session: "RenterSession", records: "list[LeaseRecord]") -> dict[str, str]:
    """Each lease's state by its miner; `unreachable` and `unknown` are states too."""
    from compute.protocol.synapses import LeaseAction

    async def ask(record: "LeaseRecord") -> tuple[str, str]:
        try:
            reply = await session.renter.operate(record, LeaseAction.STATUS)
        except ComputeError as error:
            unknown = error.code is Code.LEASE_UNKNOWN
            return record.name, "unknown" if unknown else "unreachable"
        return record.name, str(reply.state)

    asked = [record for record in records if record.credentials is not None]
    return dict(await asyncio.gather(*(ask(record) for record in asked)))
