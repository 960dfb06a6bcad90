"""A few daemon threads that work off a queue.

The standard library's pool is not used, because it keeps a process from ending while a thread waits
for an engine that hangs. Whatever such a thread leaves half done, the reconciler finds.
"""

import queue
import threading
from collections.abc import Callable

from compute.telemetry.logs import get

_log = get("miner.workers")


class Workers:
    """Threads of one purpose.

    Args:
        count: how many jobs run at the same time.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._count = count
        self._name = name
        self._started = 0
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done by the next thread that is free; it must not raise."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < self._count:
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception:  # noqa: BLE001 - a thread's root
                _log.exception("a job failed")
            with self._lock:
                self._idle += 1
