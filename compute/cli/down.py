"""`compute down`: give a lease back."""

from typing import Annotated

import typer

from compute.cli.names import complete
from compute.cli.session import context, run
from compute.errors import Code, ComputeError
from compute.protocol.synapses import LeaseAction
from compute.renter.session import RenterSession


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("down")(down)


def down(
    ctx: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="Names or ids of leases.", autocompletion=complete)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would end.")] = False,
) -> None:
    """End leases now; what is on their disks is destroyed."""
    here = context(ctx)
    records = [here.book.get(name) for name in names]
    if dry_run:
        ends = [record.name for record in records]
        here.output.data({"would_end": ends}, text=f"would end {', '.join(ends)}")
        return

    async def end(session: RenterSession) -> list[dict[str, str]]:
        rows = []
        for record in records:
            try:
                reply = await session.renter.operate(record, LeaseAction.RELEASE)
                state = str(reply.state)
            except ComputeError as error:
                if error.code is not Code.LEASE_UNKNOWN:
                    raise
                state = "unknown to the miner"
            here.book.save(here.book.get(record.name).model_copy(update={"ended": True}))
            rows.append({"name": record.name, "state": state})
        return rows

    rows = run(here, end)
    here.output.data(rows, text="\n".join(f"{row['name']}: {row['state']}" for row in rows))
