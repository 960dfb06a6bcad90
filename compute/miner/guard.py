"""Starting and ending the guard process beside a miner, see `compute.miner.reaper`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import compute
from compute.miner.reaper import GUARD_LOCK, holder

_PACKAGE = Path(compute.__file__).resolve().parent.parent
_STOP_S = 3.0


class Guard:
    """The guard of one state folder.

    Args:
        state: the miner's folder.
        engine_url: as the settings say; empty inherits `DOCKER_HOST`.
        owner: id of the ledger.
    """

    def __init__(self, state: Path, engine_url: str, owner: str) -> None:
        self._state = state
        self._engine_url = engine_url
        self._owner = owner
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start one unless one runs."""
        if self._process is not None and self._process.poll() is None:
            return
        if holder(self._state / GUARD_LOCK) is None:
            self._process = self._start()

    def stop(self) -> None:
        """End it, because there is nothing to guard."""
        pid = self._process.pid if self._process else holder(self._state / GUARD_LOCK)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _STOP_S
        while holder(self._state / GUARD_LOCK) is not None and time.monotonic() < until:
            time.sleep(0.02)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "compute.miner.reaper", "--state", str(self._state)]
        command += ["--engine", self._engine_url, "--owner", self._owner]
        search = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
        with (self._state / "guard.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "PYTHONPATH": search},
                start_new_session=True,
            )
