"""What every verb about a miner reads: its settings, its ledger and its engine."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url

from compute.adapters.engine.docker import DockerEngine
from compute.cli.context import Context
from compute.errors import Code, ComputeError, UsageError
from compute.miner.reaper import MINER_LOCK
from compute.settings.leases import LeaseSettings
from compute.settings.roles import MinerSettings
from compute.storage.database import connect
from compute.storage.ledger import SqlLedger

ENGINE_S = 10
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE, a setting of the miner: axon.port=8091."),
]


def miner_settings(here: Context, more: list[str] | None = None) -> MinerSettings:
    """The miner's settings: flags over environment over the file that --config names.

    Raises:
        UsageError: when one is unknown or out of bounds.
    """
    return here.role(MinerSettings, more or ())


def lease_settings(settings: MinerSettings) -> LeaseSettings:
    """The settings of its leases, with the state folder that the miner works on."""
    return settings.leases.model_copy(update={"state": settings.state})


@contextmanager
def ledger_of(settings: MinerSettings) -> Iterator[SqlLedger]:
    """The miner's ledger; nothing is migrated, and nothing written by reading.

    Raises:
        UsageError: when the state folder holds none.
        ComputeError: `STORAGE_FAILED` when it cannot be read.
    """
    url = lease_settings(settings).database_url
    file = make_url(url).database if url.startswith("sqlite") else None
    if file is not None and not Path(file).exists():
        raise UsageError(
            f"there is no miner's ledger at {file}",
            hint="name the miner's state folder by --state, or its file by --config",
        )
    engine = connect(url)
    try:
        yield SqlLedger(engine, time.time)
    except ComputeError as error:
        if error.code is not Code.STORAGE_FAILED:
            raise
        hint = "start the miner once, which brings its tables up to date"
        raise ComputeError(error.code, error.detail, hint=hint) from error
    finally:
        engine.dispose()


@contextmanager
def engine_of(settings: MinerSettings) -> Iterator[DockerEngine]:
    """The miner's container engine; raises `EngineError` when it is away."""
    engine = DockerEngine(settings.leases.engine, ENGINE_S)
    try:
        yield engine
    finally:
        engine.close()


def running(state: Path) -> bool:
    """Whether a miner works on this state folder now: it holds the folder's lock."""
    try:
        with (state / MINER_LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
