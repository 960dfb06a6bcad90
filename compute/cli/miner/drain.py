"""`compute miner drain`: let a miner run empty before its machine is worked on."""

import time
from typing import Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.miner.here import Set, ledger_of, miner_settings
from compute.cli.output import duration
from compute.domain.hardware import Count, Value
from compute.domain.lease import TEST_KINDS, Lease
from compute.errors import Code, LeaseError
from compute.miner.draining import Drain
from compute.settings.roles import MinerSettings

LOOK_EVERY_S = 1.0


class Draining(Value):
    """Whether a miner drains.

    Attributes:
        since: Unix seconds, or None when it takes rentals.
        rentals: how many still run.
        last_end: the latest of their deadlines, Unix seconds.
    """

    draining: bool
    since: float | None
    rentals: Count
    last_end: float | None


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miner drain": Draining}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("drain")(drain)


def drain(
    ctx: typer.Context,
    off: Annotated[bool, typer.Option("--off", help="Take rentals again.")] = False,
    wait: Annotated[
        str, typer.Option(help="Wait at most so long until no rental is left: 30m, 2h.")
    ] = "0",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how it is.")] = False,
    settings: Set = None,
) -> None:
    """Take no new rentals. Those that run stay until their end, and validators still measure.

    It holds across restarts of the miner, until --off.
    """
    from compute.renter import parsing

    here = context(ctx)
    own = miner_settings(here, settings)
    patience_s = parsing.seconds(wait)
    with ledger_of(own):
        mark = Drain(own.state)
    if off and not dry_run:
        mark.end()
    elif not dry_run:
        mark.begin()
    if mark.since is not None and patience_s:
        _wait(here, own, patience_s)
    found = _draining(own)
    here.output.data(found, text=_words(found))


def _rentals(settings: MinerSettings) -> list[Lease]:
    with ledger_of(settings) as ledger:
        return [one for one in ledger.live() if one.kind not in TEST_KINDS]


def _wait(here: Context, settings: MinerSettings, patience_s: float) -> None:
    """Look until no rental is left.

    Raises:
        LeaseError: `BUSY` when some are left after the time.
    """
    until = time.monotonic() + patience_s
    told = -1
    while rentals := _rentals(settings):
        if len(rentals) != told:
            told = len(rentals)
            here.output.progress(_still(told))
        if time.monotonic() > until:
            raise LeaseError(
                Code.BUSY,
                _still(len(rentals)),
                hint="wait longer; 'compute miner leases' shows their deadlines",
            )
        time.sleep(LOOK_EVERY_S)


def _draining(settings: MinerSettings) -> Draining:
    rentals, since = _rentals(settings), Drain(settings.state).since
    return Draining(
        draining=since is not None,
        since=since,
        rentals=len(rentals),
        last_end=max((one.expires_at for one in rentals), default=None),
    )


def _still(rentals: int) -> str:
    return "1 rental still runs" if rentals == 1 else f"{rentals} rentals still run"


def _words(found: Draining) -> str:
    left = (
        f"{_still(found.rentals)} for at most {duration(found.last_end - time.time())}"
        if found.last_end is not None
        else "no rental runs"
    )
    return f"{'draining' if found.draining else 'accepting rentals'}; {left}"
