"""Which engine to use: the one that `DOCKER_HOST` names, the system's, or a private one."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from compute.adapters.engine.private.api import answers
from compute.adapters.engine.private.engine import PrivateEngine, Started
from compute.errors import Code, EngineError

SYSTEM_SOCKET = Path("/var/run/docker.sock")
_UNIX = "unix://"


class Origin(Enum):
    """Where the engine in use came from."""

    NAMED = "named by DOCKER_HOST"
    SYSTEM = "the system's"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine to use.

    Attributes:
        docker_host: its address, as `DOCKER_HOST` takes it.
        origin: where it came from.
        started: what starting it took; None for one that is not ours.
    """

    docker_host: str
    origin: Origin
    started: Started | None = None


def find_existing(environ: Mapping[str, str]) -> FoundEngine | None:
    """The engine that is already there, if any.

    Raises:
        EngineError: `ENGINE_AWAY` if `DOCKER_HOST` names one that does not answer.
    """
    named = environ.get("DOCKER_HOST", "")
    if named:
        if named.startswith(_UNIX) and not answers(Path(named.removeprefix(_UNIX))):
            raise EngineError(
                Code.ENGINE_AWAY,
                "the one that DOCKER_HOST names",
                hint="start it, or unset DOCKER_HOST to have one found or started",
            )
        return FoundEngine(named, Origin.NAMED)
    if os.access(SYSTEM_SOCKET, os.R_OK | os.W_OK) and answers(SYSTEM_SOCKET):
        return FoundEngine(f"{_UNIX}{SYSTEM_SOCKET}", Origin.SYSTEM)
    return None


@contextlib.contextmanager
def hold_engine(
    state: Path,
    environ: Mapping[str, str],
    progress: Callable[[str], None] = lambda _line: None,
) -> Iterator[FoundEngine]:
    """Find an engine, or start a private one and stop it at the end.

    Raises:
        EngineError: there is none and none can be started.
    """
    existing = find_existing(environ)
    if existing:
        yield existing
        return
    engine = PrivateEngine(state, progress)
    started = engine.acquire()
    try:
        yield FoundEngine(engine.docker_host, Origin.PRIVATE, started)
    finally:
        engine.release()
