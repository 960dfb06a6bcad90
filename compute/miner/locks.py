"""One lock for each lease: operations on one lease are serial, on different ones parallel."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class LeaseLocks:
    """Re-entrant locks by lease id that exist only while somebody holds or wants them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def hold(self, lease_id: str, *, wait: bool = True, at_most_s: float = -1) -> Iterator[bool]:
        """Hold a lease's lock, and yield whether it was had.

        Args:
            lease_id: whose.
            wait: whether to wait for whoever holds it.
            at_most_s: longest wait in seconds; negative for as long as it takes.
        """
        lock = self._borrow(lease_id)
        try:
            if not lock.acquire(wait, at_most_s if wait else -1):
                yield False
                return
            try:
                yield True
            finally:
                lock.release()
        finally:
            self._give_back(lease_id)

    def _borrow(self, lease_id: str) -> threading.RLock:
        with self._guard:
            lock, users = self._locks.get(lease_id, (threading.RLock(), 0))
            self._locks[lease_id] = (lock, users + 1)
            return lock

    def _give_back(self, lease_id: str) -> None:
        with self._guard:
            lock, users = self._locks[lease_id]
            if users == 1:
                del self._locks[lease_id]
            else:
                self._locks[lease_id] = (lock, users - 1)
