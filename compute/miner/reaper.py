"""The guard: ends overdue containers with nothing but the engine.

    python -m compute.miner.reaper --state FOLDER [--engine URL] [--forever]

The miner starts one beside itself, in a session of its own, so that a deadline holds when the
miner dies. It leaves a miner that runs some seconds to end a lease properly, and then removes the
container by force; the ledger learns of it at the miner's next start. When the miner is gone and
no container is left, it removes the miner's networks and volumes and ends by itself. When the
engine is gone too it waits a day for it, or until the state folder is removed: containers outlive
an engine that runs with live-restore, and their deadlines are to hold when it is back. With
`--forever` it minds every miner's containers on the engine, for a service manager to run.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from compute.adapters.engine.disk import FOLDER, LoopDisks
from compute.adapters.engine.docker import DockerEngine
from compute.adapters.engine.firewall import choose_firewall
from compute.adapters.hardware.clock import SystemClock
from compute.domain.container import bridge_of, deadline_of
from compute.domain.timeline import Instant
from compute.errors import ComputeError
from compute.ports.engine import Engine
from compute.telemetry import logs

ENGINE_TIMEOUT_S = 30
EVERY_S = 2.0
ALONE_EVERY_S = 0.5
PATIENCE_S = 20.0  # the miner's own teardown takes its grace period, and a moment
# An engine that stays away so long, with no miner, is not coming back. Containers outlive an engine
# with live-restore, and one that was killed: whoever ends them has to be there when it returns.
ALONE_AWAY_S = 86_400.0
ALONE_PATIENCE_S = 0.5  # with no miner there is nobody to wait for
MINER_LOCK = "miner.lock"
GUARD_LOCK = "guard.lock"
_log = logs.get("guard")


def reap(engine: Engine, now: Instant, patience_s: float, owner: str | None = None) -> int:
    """Remove containers that are overdue by more than the patience; answers how many.

    Raises:
        EngineError: the engine does not answer, or refuses one removal after the others were done.
    """
    removed = 0
    refusal: ComputeError | None = None
    for container in engine.containers(owner):
        deadline = deadline_of(container.name, container.labels)
        if deadline is None or deadline.remaining_s(now) > -patience_s:
            continue
        try:
            engine.remove(container.id)
        except ComputeError as error:
            refusal = error
        else:
            removed += 1
            _log.warning("removed an overdue container", container=container.name)
    if refusal is not None:
        raise refusal
    return removed


@contextlib.contextmanager
def only_holder(path: Path) -> Iterator[bool]:
    """Hold a file's lock as long as the process lives; yields False when another holds it."""
    with _locked(path) as file:
        yield file is not None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str] | None]:
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def held(path: Path) -> bool:
    """Whether anybody holds a file's lock."""
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def holder(path: Path) -> int | None:
    """Process id that the holder of a file's lock wrote into it; None when nobody holds it."""
    try:
        return int(path.read_text().strip() or 0) or None if held(path) else None
    except (OSError, ValueError):
        return None


def _clear(engine: Engine, owner: str, state: Path) -> None:
    """Remove what a miner's leases stood on, now that none is left."""
    disks = LoopDisks(state.absolute() / FOLDER)
    for lease_id in disks.known():
        disks.destroy(lease_id)
    for volume in engine.volumes(owner):
        engine.remove_volume(volume)
    for network in engine.networks(owner):
        engine.remove_network(network)
    if engine.info().local:
        firewall, _ = choose_firewall("auto", local=True, internet=False, private_networks=False)
        firewall.release(bridge_of(owner))


def watch(options: argparse.Namespace, stop: threading.Event) -> None:
    """Reap until told to stop, or until there is nothing left to guard."""
    seen = time.monotonic()
    while not stop.is_set():
        try:
            engine = DockerEngine(options.engine, ENGINE_TIMEOUT_S)
            try:
                while _round(engine, options):
                    seen = time.monotonic()
                    if stop.wait(EVERY_S if _mined(options) else ALONE_EVERY_S):
                        return
            finally:
                engine.close()
        except ComputeError as error:
            _log.warning("the engine is in the way", why=str(error))
            if not _mined(options) and given_up(options.state, time.monotonic() - seen):
                return
            stop.wait(EVERY_S)
        else:
            return


def given_up(state: Path, away_s: float) -> bool:
    """Whether a guard without a miner stops waiting for its engine, which is away for so long."""
    return away_s > ALONE_AWAY_S or not state.is_dir()


def _mined(options: argparse.Namespace) -> bool:
    """Whether a miner may still be coming for what is overdue."""
    return bool(options.forever) or held(options.state / MINER_LOCK)


def _round(engine: Engine, options: argparse.Namespace) -> bool:
    """Reap once; False when there is nothing left to guard."""
    owner, mined = options.owner or None, _mined(options)
    patience = options.patience if mined else ALONE_PATIENCE_S
    reap(engine, SystemClock().now(), patience, owner)
    if mined or engine.containers(owner):
        return True
    if owner:
        _clear(engine, owner, options.state)
    return False


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="compute.miner.reaper", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of the miner's state")
    parser.add_argument("--engine", default="", help="engine URL; empty: DOCKER_HOST, else local")
    parser.add_argument("--owner", default="", help="mind this ledger's containers; empty: all")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds left to miners")
    parser.add_argument("--forever", action="store_true", help="stay when nothing is left")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run the guard; exit status 0, also when another one runs already."""
    options = parse(arguments)
    logs.configure(role="guard")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    options.state.mkdir(parents=True, exist_ok=True)
    with only_holder(options.state / GUARD_LOCK) as alone:
        if alone:
            watch(options, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
