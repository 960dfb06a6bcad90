"""`compute miner leases`: what a miner leases out and has leased out."""

import time
from typing import Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.miner.here import Set, ledger_of, miner_settings
from compute.cli.output import duration, table
from compute.cli.quote import grants
from compute.cli.showing import after, clock, precise_clock
from compute.domain.hardware import Value
from compute.domain.lease import Lease
from compute.domain.requirement import Requirement
from compute.domain.timeline import Moment
from compute.errors import Code, LeaseError
from compute.storage.ledger import SqlLedger

MOST = 500


class MomentRow(Value):
    """One line of a lease's timeline; Unix seconds."""

    at: float
    event: str
    detail: str


class LeaseRow(Value):
    """One lease as the ledger knows it; times in Unix seconds.

    Attributes:
        renter: hotkey (ss58) that asked for it.
        gpus: UUIDs, `cpus` ids of logical processors, `ports` on the host.
        trace: id of the renter's operation that made it.
        events: everything that happened, when one lease was asked for.
    """

    id: str
    kind: str
    state: str
    renter: str
    requirement: Requirement
    gpus: tuple[str, ...]
    cpus: tuple[int, ...]
    ports: tuple[int, ...]
    created_at: float
    ready_at: float | None
    expires_at: float
    ended_at: float | None
    reason: str
    error: str
    detail: str
    trace: str
    events: tuple[MomentRow, ...] = ()


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miner leases": list[LeaseRow]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("leases")(leases)


def leases(
    ctx: typer.Context,
    lease: Annotated[str, typer.Argument(help="Beginning of a lease's id; none lists them.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Ended ones too, newest first.")
    ] = False,
    settings: Set = None,
) -> None:
    """List the miner's leases, or show one with everything that happened to it."""
    here = context(ctx)
    with ledger_of(miner_settings(here, settings)) as ledger:
        if lease:
            _show(here, ledger, _find(ledger, lease))
            return
        found = ledger.recent(MOST) if everything else ledger.live()
    now = time.time()
    rows = table(
        "LEASE", "KIND", "STATE", "LEFT", "WHAT", "RENTER", "WHY", spare=("RENTER", "KIND")
    )
    for one in found:
        left = duration(one.expires_at - now) if one.live else "-"
        why = str(one.reason or "") + (f" ({one.error})" if one.error else "")
        rows.add_row(
            *(one.id[:12], str(one.kind), str(one.state), left),
            *(grants(one.requirement), one.owner[:8] + "…", why),
        )
    here.output.data([_row(one) for one in found], rows, empty="no leases")


def _find(ledger: SqlLedger, beginning: str) -> Lease:
    """The one lease whose id begins so.

    Raises:
        LeaseError: `LEASE_UNKNOWN` for none, or more than one.
    """
    found = [one for one in ledger.recent(MOST) if one.id.startswith(beginning)]
    if len(found) != 1:
        several = f"{len(found)} leases begin with '{beginning}'"
        raise LeaseError(
            Code.LEASE_UNKNOWN,
            several if found else f"'{beginning}'",
            hint="'compute miner leases -a' lists them",
        )
    return found[0]


def _show(here: Context, ledger: SqlLedger, lease: Lease) -> None:
    events = ledger.timeline(lease.id)
    ends = f"ended {clock(lease.ended_at)}" if lease.ended_at else f"ends {clock(lease.expires_at)}"
    text = (
        f"{lease.id}: {lease.kind}, {lease.state}, {ends}\n"
        f"{grants(lease.requirement)}; rented by {lease.owner}\n"
    )
    rows = table("WHEN", ">AFTER", "EVENT", "DETAIL")
    for moment in events:
        rows.add_row(
            precise_clock(moment.at),
            after(moment.at - lease.created_at),
            str(moment.event),
            moment.detail,
        )
    here.output.data([_row(lease, events)], text=text)
    if not here.output.as_json:
        here.output.data(None, rows)


def _row(lease: Lease, events: tuple[Moment, ...] = ()) -> LeaseRow:
    held = lease.assignment
    return LeaseRow(
        id=lease.id,
        kind=str(lease.kind),
        state=str(lease.state),
        renter=lease.owner,
        requirement=lease.requirement,
        gpus=held.gpus,
        cpus=held.cpus,
        ports=tuple(port.host for port in held.ports),
        created_at=lease.created_at,
        ready_at=lease.ready_at,
        expires_at=lease.expires_at,
        ended_at=lease.ended_at,
        reason=str(lease.reason or ""),
        error=lease.error,
        detail=lease.detail,
        trace=lease.trace,
        events=tuple(MomentRow(at=m.at, event=str(m.event), detail=m.detail) for m in events),
    )
