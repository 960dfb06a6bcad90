"""`compute ps`: the renter's own leases."""

import time
from typing import Annotated

import typer

from compute.cli.output import duration, table
from compute.cli.session import context
from compute.renter.book import LeaseRecord


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ps")(ps)


def ps(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended ones too.")] = False,
) -> None:
    """List your leases from the book on this machine; 'compute show NAME' asks the miner."""
    here = context(ctx)
    now = time.time()
    records = [r for r in here.book.all() if everything or not _over(r, now)]
    rows = table("NAME", "STATE", "LEFT", "ADDRESS", "MINER", "LEASE")
    for record in records:
        credentials = record.credentials
        rows.add_row(
            record.name,
            _state(record, now),
            duration(credentials.expires_at - now) if credentials else "-",
            f"{credentials.host}:{credentials.port}" if credentials else "-",
            record.miner[:8] + "…",
            credentials.lease_id[:12] if credentials else "-",
        )
    here.output.data(
        [{**r.model_dump(mode="json"), "state": _state(r, now)} for r in records], rows
    )


def _over(record: LeaseRecord, now: float) -> bool:
    return record.ended or (record.credentials is not None and record.credentials.expires_at <= now)


def _state(record: LeaseRecord, now: float) -> str:
    if record.credentials is None:
        return "unanswered"
    return "over" if _over(record, now) else "up"
