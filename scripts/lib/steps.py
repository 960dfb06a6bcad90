"""Commands that a script runs one after the other, each of which may be interrupted."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from compute.adapters.engine.private.child import run_child

HERE = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# From here on a status means that a signal ended the command, or that a person interrupted it.
_SIGNAL_STATUS = 128


def run_step(name: str, command: Sequence[str]) -> int:
    """Run a command in the foreground, say how long it took, and return its exit status."""
    say(f"--- {name}")
    started = time.monotonic()
    status = run_child(command, dict(os.environ))
    verdict = "ok" if status == 0 else f"failed (exit status {status})"
    say(f"--- {name}: {verdict}, {time.monotonic() - started:.1f} s")
    return status


def prepare_base_image() -> int:
    """Make or find the base image in the engine that `DOCKER_HOST` names."""
    module = "compute.adapters.engine.baseimage"
    command = [sys.executable, "-m", module, "build", "--state", os.environ["COMPUTE_STATE"]]
    return run_child(command, dict(os.environ))


def interrupted(status: int) -> bool:
    """Whether this status came from a signal, so that nothing more should be begun."""
    return status >= _SIGNAL_STATUS


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)
