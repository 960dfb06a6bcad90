"""`compute miner status`: the miner on this machine, running or not."""

import time
from collections import Counter
from typing import Any

import typer

from compute.cli.context import context
from compute.cli.miner.here import Set, engine_of, ledger_of, miner_settings, running
from compute.cli.output import counted, duration, table
from compute.cli.showing import clock
from compute.domain.container import LEASE
from compute.domain.hardware import Count, Value
from compute.domain.lease import FAILURES
from compute.errors import EngineError
from compute.miner.draining import Drain
from compute.settings.roles import MinerSettings
from compute.storage.ledger import SqlLedger

DAY_S = 86_400
MOST = 5000


class EngineStatus(Value):
    """The container engine and what it holds for this miner.

    Attributes:
        error: why it does not answer, or empty; nothing else is known then.
        quota: whether it can limit a container's disk.
        orphans: containers of this miner without a live lease; its sweep removes them.
    """

    error: str = ""
    version: str = ""
    storage_driver: str = ""
    quota: bool = False
    containers: Count = 0
    orphans: Count = 0
    networks: Count = 0
    volumes: Count = 0


class MinerStatus(Value):
    """A miner as its state folder and its engine show it.

    Attributes:
        state: the folder.
        owner: id that labels its objects on the engine.
        draining_since: Unix seconds, or None while it takes rentals.
        live: kind of lease to how many hold hardware.
        next_end: the nearest deadline, Unix seconds.
        ended_day: leases that ended in the last 24 hours, `failed_day` those by a fault.
    """

    state: str
    running: bool
    owner: str
    draining_since: float | None
    live: dict[str, int]
    next_end: float | None
    ended_day: Count
    failed_day: Count
    engine: EngineStatus


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miner status": MinerStatus}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(ctx: typer.Context, settings: Set = None) -> None:
    """Show how the miner on this machine is.

    Reads its state folder and asks its engine; the miner itself need not run.
    """
    here = context(ctx)
    own = miner_settings(here, settings)
    with ledger_of(own) as ledger:
        found = _status(own, ledger)
    rows = table("WHAT", "NOW")
    for name, value in _words(found).items():
        rows.add_row(name, value)
    here.output.data(found, rows)


def _status(settings: MinerSettings, ledger: SqlLedger) -> MinerStatus:
    live = ledger.live()
    since = time.time() - DAY_S
    ended = [one for one in ledger.recent(MOST) if (one.ended_at or 0) > since]
    return MinerStatus(
        state=str(settings.state),
        running=running(settings.state),
        owner=ledger.owner,
        draining_since=Drain(settings.state).since,
        live=dict(Counter(str(one.kind) for one in live)),
        next_end=min((one.expires_at for one in live), default=None),
        ended_day=len(ended),
        failed_day=sum(one.reason in FAILURES for one in ended),
        engine=_engine(settings, ledger.owner, {one.id for one in live}),
    )


def _engine(settings: MinerSettings, owner: str, live: set[str]) -> EngineStatus:
    try:
        with engine_of(settings) as engine:
            info, containers = engine.info(), engine.containers(owner)
            return EngineStatus(
                version=info.version,
                storage_driver=info.storage_driver,
                quota=info.quota,
                containers=len(containers),
                orphans=sum(each.labels.get(LEASE) not in live for each in containers),
                networks=len(engine.networks(owner)),
                volumes=len(engine.volumes(owner)),
            )
    except EngineError as error:
        return EngineStatus(error=str(error))


def _words(found: MinerStatus) -> dict[str, str]:
    live = ", ".join(f"{count} {kind}" for kind, count in sorted(found.live.items())) or "none"
    next_end = (
        f", the next ends in {duration(found.next_end - time.time())}" if found.next_end else ""
    )
    engine = found.engine
    held = (
        f"{counted(engine.containers, 'container')} ({engine.orphans} without a lease), "
        f"{counted(engine.networks, 'network')}, {counted(engine.volumes, 'volume')}"
    )
    draining = found.draining_since
    return {
        "miner": "running" if found.running else "not running",
        "rentals": f"none taken since {clock(draining)} (draining)" if draining else "accepted",
        "leases": live + next_end,
        "last 24 hours": f"{found.ended_day} ended, {found.failed_day} of them by a fault",
        "engine": engine.error or f"{engine.version} on {engine.storage_driver}",
        "on the engine": "unknown" if engine.error else held,
        "state folder": found.state,
    }
