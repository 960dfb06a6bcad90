"""Which way of holding leases to their disk size works on this host: tried out, not assumed."""

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from compute.adapters.engine.disk import FOLDER, LoopDisks, PlainDisks, loop_hindrance
from compute.domain.container import (
    KIND,
    LEASE,
    MANAGED,
    NAME_PREFIX,
    OWNER,
    ContainerSpec,
    ContainerState,
    Limits,
)
from compute.errors import Code, EngineError
from compute.ports.disk import Disks
from compute.ports.engine import Engine, EngineInfo
from compute.protocol.synapses import DiskEnforcement
from compute.settings.leases import LeaseSettings
from compute.telemetry.logs import get

TRIAL_MIB = 16
TRIAL_S = 30.0
_log = get("miner.disks")


def choose_disks(
    settings: LeaseSettings, engine: Engine, info: EngineInfo, image: str, owner: str
) -> Disks:
    """The strictest enforcement that the settings allow and that holds in a trial.

    Args:
        settings: `disk` says which, and the state folder where disks are kept.
        engine: to try on.
        info: of the same engine.
        image: that has a shell.
        owner: id of the ledger, for the trial's labels.

    Raises:
        EngineError: `HOST_UNFIT` when the settings ask for one that does not hold here.
    """
    for disks in _candidates(settings, info):
        if _needs_trial(disks) and not _holds(disks, engine, image, owner):
            _log.warning("disk limits do not hold this way", way=disks.enforcement.value)
            continue
        _log.info("disk sizes of leases", enforcement=disks.enforcement.value)
        return disks
    raise EngineError(Code.HOST_UNFIT, f"disk limits by '{settings.disk}' do not work here")


def _candidates(settings: LeaseSettings, info: EngineInfo) -> Iterator[Disks]:
    wanted = settings.disk
    root = Path(info.root) if info.local else settings.state
    if wanted == "quota" or (wanted == "auto" and info.quota):
        yield PlainDisks(DiskEnforcement.QUOTA, root)
    if info.local and wanted in {"auto", "volume"}:
        hindrance = loop_hindrance()
        if hindrance:
            _log.info("leases get no file systems of their own", why=hindrance)
        else:
            yield LoopDisks(settings.state.absolute() / FOLDER)
    if wanted in {"auto", "watch"} and _can_look(info):
        yield PlainDisks(DiskEnforcement.WATCH, root)
    if wanted in {"auto", "none"}:
        yield PlainDisks(DiskEnforcement.NONE, root)


def _can_look(info: EngineInfo) -> bool:
    """Whether the layers of containers can be measured from here."""
    layers = Path(info.root) / "overlay2"
    # The effective ids, because a service may read them by a capability, without being root.
    readable = os.access(layers, os.R_OK | os.X_OK, effective_ids=True)
    return info.local and info.storage_driver == "overlay2" and readable


def _needs_trial(disks: Disks) -> bool:
    return disks.enforcement in {DiskEnforcement.QUOTA, DiskEnforcement.VOLUME}


def _holds(disks: Disks, engine: Engine, image: str, owner: str) -> bool:
    """Write more than a small disk holds, and see it refused."""
    trial = secrets.token_hex(16)
    quota = disks.enforcement is DiskEnforcement.QUOTA
    spec = ContainerSpec(
        name=f"{NAME_PREFIX}{trial}",
        image=image,
        labels={MANAGED: "1", OWNER: owner, LEASE: trial, KIND: "trial"},
        limits=Limits(
            cpus=(0,),
            memory_mib=64,
            shm_mib=1,
            disk_mib=TRIAL_MIB if quota else 0,
            pids=64,
            open_files=1024,
        ),
        command=("sh", "-c", f"head -c {TRIAL_MIB + 8}M /dev/zero > /trial && exit 99"),
        logs=False,
    )
    container = ""
    try:
        container = engine.create(spec)
        disks.attach(trial, TRIAL_MIB, engine.layer(container))
        engine.start(container)
        return _exit_code(engine, container) not in {None, 99}
    except EngineError as refusal:
        _log.info("a trial failed", way=disks.enforcement.value, why=str(refusal))
        return False
    finally:
        if container:
            engine.remove(container)
        disks.destroy(trial)


def _exit_code(engine: Engine, container: str) -> int | None:
    until = time.monotonic() + TRIAL_S
    while time.monotonic() < until:
        view = engine.inspect(container)
        if view is not None and view.state is ContainerState.EXITED:
            return view.exit_code
        time.sleep(0.02)
    return None
