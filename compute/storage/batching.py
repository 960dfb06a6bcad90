"""Group commit: writers that come at the same time share one transaction, and one sync to disk.

A sync costs milliseconds, so that writers who each wait for their own are bound to a few hundred a
second. Here the first to come leads: whoever arrives while a transaction is being synced is written
by the next one. Each writer's work runs inside a savepoint of its own: what one refuses, the others
do not notice; and nobody is answered before his work is on disk.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from compute.errors import ComputeError
from compute.storage.database import write

ResultT = TypeVar("ResultT")
MOST = 256  # writers in one transaction


@dataclass(slots=True)
class _Entry:
    """One writer's work and what became of it."""

    work: Callable[[Connection], Any]
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
        self._waiting: list[_Entry] = []
        self._arrivals = threading.Lock()
        self._leading = threading.Lock()

    def run(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Run work in a transaction, perhaps together with others'; returns once it is on disk.

        Raises:
            ComputeError: what the work itself raised, or `STORAGE_FAILED`.
        """
        entry = _Entry(work)
        with self._arrivals:
            self._waiting.append(entry)
        while not entry.done:
            with self._leading:
                if not entry.done:
                    self._lead()
        if entry.error is not None:
            raise entry.error
        result: ResultT = entry.value
        return result

    def _lead(self) -> None:
        with self._arrivals:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            write(self._engine, lambda connection: _run_all(connection, batch))
        except ComputeError as error:  # nothing was written, whatever each one's work said
            for entry in batch:
                entry.error = error
        finally:
            for entry in batch:
                entry.done = True


def _run_all(connection: Connection, batch: list[_Entry]) -> None:
    for entry in batch:
        try:
            with connection.begin_nested():
                entry.value = entry.work(connection)
        except ComputeError as error:
            entry.error = error
