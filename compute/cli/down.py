"""`compute down`: give a lease back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.names import complete
from compute.cli.session import run
from compute.domain.hardware import Value
from compute.errors import Code, ComputeError

if TYPE_CHECKING:
    from compute.renter.session import RenterSession


class Ended(Value):
    """What became of one lease; `would end` when it was only asked."""

    name: str
    state: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"down": list[Ended]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("down")(down)


def down(
    ctx: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="Names or ids of leases.", autocompletion=complete)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End leases now. What is on their disks is destroyed.

    On a terminal it asks first, unless --yes is given.
    """
    here = context(ctx)
    records = [here.book.get(name) for name in names]
    if dry_run:
        ends = [Ended(name=record.name, state="would end") for record in records]
        here.output.data(ends, text="\n".join(f"{end.name}: would end" for end in ends))
        return
    listed = ", ".join(record.name for record in records)
    here.output.confirm(f"End {listed}, and destroy what is on disk?", yes=yes)

    async def end(session: "RenterSession") -> list[Ended]:
        from compute.protocol.synapses import LeaseAction

        rows = []
        for record in records:
            try:
                state = str((await session.renter.operate(record, LeaseAction.RELEASE)).state)
            except ComputeError as error:
                if error.code is not Code.LEASE_UNKNOWN:
                    raise
                state = "unknown to the miner"
            here.book.save(here.book.get(record.name).model_copy(update={"ended": True}))
            rows.append(Ended(name=record.name, state=state))
        return rows

    rows = run(here, end)
    here.output.data(rows, text="\n".join(f"{row.name}: {row.state}" for row in rows))
