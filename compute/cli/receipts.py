"""`compute receipts`: what miners have signed about one's leases."""

from pathlib import Path
from typing import Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.names import complete
from compute.cli.output import table
from compute.cli.showing import clock
from compute.domain.hardware import Value


class Kept(Value):
    """One receipt on this machine.

    Attributes:
        lease: the renter's name for the lease.
        asked: synapse and action that the answer is to.
        at: when it came, Unix seconds by this machine's clock.
        status: HTTP status of the answer.
        miner: hotkey (ss58) that signed.
        holds: whether both signatures hold.
    """

    lease: str
    asked: str
    at: float
    status: int
    miner: str
    holds: bool
    file: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"receipts": list[Kept]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("receipts")(receipts)


def receipts(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Name of a lease; none lists all.", autocompletion=complete)
    ] = "",
) -> None:
    """List what miners have signed about your leases, and whether it holds.

    'compute receipt verify FILE' checks one by itself, on any machine.
    """
    here = context(ctx)
    names = [here.book.get(name).name] if name else [record.name for record in here.book.all()]
    found = [kept for each in names for kept in _kept(here, each)]
    rows = table("WHEN", "LEASE", "ASKED", ">STATUS", "MINER", "HOLDS", "FILE")
    for kept in found:
        rows.add_row(
            clock(kept.at),
            kept.lease,
            kept.asked,
            str(kept.status),
            kept.miner[:8] + "…",
            "yes" if kept.holds else "NO",
            kept.file,
        )
    here.output.data(found, rows, empty="no receipts; each operation on a lease leaves one")


def _kept(here: Context, name: str) -> list[Kept]:
    return [_read(name, path) for path in here.book.receipts(name)]


def _read(name: str, path: Path) -> Kept:
    from compute.cli.receipt import asked_of, holds
    from compute.protocol.receipts import load_receipt

    receipt = load_receipt(path)
    return Kept(
        lease=name,
        asked=asked_of(receipt),
        at=receipt.received_at,
        status=receipt.status,
        miner=receipt.callee,
        holds=holds(receipt),
        file=str(path),
    )
