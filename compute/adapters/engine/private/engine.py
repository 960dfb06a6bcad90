"""A private engine as something to hold: the first holder starts it, the last one stops it.

Holding is a shared lock on a file, which the kernel drops when a holder dies, however it dies.
So two runs on one state folder share one engine, and neither can stop it under the other.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from compute.adapters.engine.private import daemon
from compute.adapters.engine.private.api import answers
from compute.adapters.engine.private.layout import Layout
from compute.adapters.engine.private.network import HOST_FOLDER


class Started(Enum):
    """What holding a private engine took."""

    FRESH = "started for the first time here"
    AGAIN = "started again on what it already had"
    RUNNING = "was running already"


class PrivateEngine:
    """A container engine that belongs to one state folder.

    ::

        with PrivateEngine(state) as engine:
            client = docker.DockerClient(engine.docker_host)

    Args:
        state: the folder; the engine lives in its `engine/`.
        progress: takes one line for a person at a time.
    """

    def __init__(self, state: Path, progress: Callable[[str], None] = lambda _line: None) -> None:
        self.layout = Layout.of(state)
        self._progress = progress
        self._holders = self.layout.root / "holders.lock"
        self._hold: int | None = None

    @property
    def docker_host(self) -> str:
        """The engine's address, as `DOCKER_HOST` takes it."""
        return self.layout.docker_host

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def running(self) -> bool:
        """Whether the engine answers."""
        return answers(self.layout.socket)

    def acquire(self) -> Started:
        """Hold the engine, starting it if it does not run.

        Raises:
            EngineError: it cannot be started here.
        """
        with self._changing():
            how = self._ensure_started()
            self._hold = _open_lock(self._holders)
            fcntl.flock(self._hold, fcntl.LOCK_SH)
        return how

    def release(self) -> bool:
        """Let go of the engine, and stop it if nobody else holds or keeps it.

        Returns:
            Whether it was stopped.
        """
        if self._hold is None:
            return False
        with self._changing():
            last = _is_last(self._hold)
            os.close(self._hold)
            self._hold = None
            if not last or self.layout.keep_mark.exists():
                return False
            daemon.stop(self.layout)
        return True

    def keep(self) -> Started:
        """Start the engine so that it stays until `stop`.

        Raises:
            EngineError: it cannot be started here.
        """
        with self._changing():
            how = self._ensure_started()
            self.layout.keep_mark.touch()
        return how

    def stop(self) -> None:
        """Stop the engine whoever holds it, and clear what it or an earlier one left."""
        with self._changing():
            daemon.stop(self.layout)

    def _ensure_started(self) -> Started:
        if self.running():
            if self.layout.keep_mark.exists() or self._is_held():
                return Started.RUNNING
            # Its holder was killed: what that left in it is nobody's.
            daemon.stop(self.layout)
        fresh = not self.layout.data.exists()
        daemon.start(self.layout, self._progress)
        return Started.FRESH if fresh else Started.AGAIN

    def _is_held(self) -> bool:
        lock = _open_lock(self._holders)
        try:
            return not _is_last(lock)
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Serialize starting and stopping over all private engines of this host."""
        self.layout.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        HOST_FOLDER.mkdir(mode=0o755, exist_ok=True)
        lock = _open_lock(HOST_FOLDER / "lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_last(hold: int) -> bool:
    """Whether nobody else holds; afterwards the lock is exclusive, or not held at all."""
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
