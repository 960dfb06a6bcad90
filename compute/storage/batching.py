"""Group commit: writers that come at the same time share one transaction, and one sync to disk.

A sync costs milliseconds, so that writers who each wait for their own are bound to a few hundred a
second. Here the first to come leads: whoever arrives while a transaction is being synced is written
by the next one. Each writer's work runs inside a savepoint of its own: what one refuses, the others
do not notice; and nobody is answered before his work is on disk.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from compute.storage.database import translated, write

ResultT = TypeVar("ResultT")
MOST = 256  # writers in one transaction


@dataclass(slots=True)
class _Entry:
    """One writer's work and what became of it."""

    work: Callable[[Connection], Any]
    awake: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    value: Any = None
    error: Exception | None = None


class BatchWriter:
    """Writes for many threads at once.

    Args:
        engine: the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._led = False  # whether somebody is writing, or was woken up to

    def run(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Run work in a transaction, perhaps together with others'; returns once it is on disk.

        Raises:
            ComputeError: what the work itself raised, or `STORAGE_FAILED`.
        """
        entry = _Entry(work)
        with self._lock:
            self._waiting.append(entry)
            follows, self._led = self._led, True
        if follows:
            entry.awake.wait()
        if not entry.done:
            self._lead()
        if entry.error is not None:
            raise entry.error
        result: ResultT = entry.value
        return result

    def _lead(self) -> None:
        """Write those that wait, wake them, and have the first of those that came since lead."""
        with self._lock:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            write(self._engine, lambda connection: _run_all(connection, batch))
        except Exception as error:  # noqa: BLE001 - each writer's own call raises it
            for entry in batch:  # nothing was written, whatever each one's work said
                entry.error = error
        finally:
            for entry in batch:
                entry.done = True
            with self._lock:
                heirs = self._waiting[:1]
                self._led = bool(heirs)
            for entry in (*batch, *heirs):
                entry.awake.set()


def _run_all(connection: Connection, batch: list[_Entry]) -> None:
    for entry in batch:
        try:
            with translated(), connection.begin_nested():
                entry.value = entry.work(connection)
        except Exception as error:  # noqa: BLE001 - its writer's own call raises it
            entry.error = error
