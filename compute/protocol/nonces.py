"""Which nonces were seen: in memory for one process, in SQLite for several or across restarts.

Both stores forget nonces only once they are older than `retention_s`, and from then on refuse
everything that old, so that a clock which jumps back opens no replay window.
"""

import sqlite3
import threading
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Protocol

from compute.errors import Code, ComputeError

SECOND = 1_000_000_000
RETENTION_S = 60.0
_PURGE_EVERY = 512


class NonceStore(Protocol):
    """Remembers (hotkey, nonce) pairs. Nonces are Unix time in nanoseconds.

    Attributes:
        durable: whether a restarted process finds what its predecessor stored.
        retention_s: seconds for which a nonce is remembered; at least the freshness window.
    """

    @property
    def durable(self) -> bool: ...  # noqa: D102 - see the class

    @property
    def retention_s(self) -> float: ...  # noqa: D102

    def check_and_store(self, hotkey: str, nonce_ns: int, now_ns: int) -> bool:
        """Store the pair; False if it was seen before or is older than what is remembered."""
        ...


class MemoryNonces:
    """Nonces of one process."""

    durable = False

    def __init__(self, retention_s: float = RETENTION_S) -> None:
        self.retention_s = retention_s
        self._seen: set[tuple[str, int]] = set()
        self._stored: deque[tuple[int, tuple[str, int]]] = deque()  # by time of storing
        self._floor_ns = 0  # whatever is older may have been forgotten

    def check_and_store(self, hotkey: str, nonce_ns: int, now_ns: int) -> bool:
        """Store the pair; False if it was seen before or is older than what is remembered."""
        self._forget(now_ns - int(self.retention_s * SECOND))
        pair = (hotkey, nonce_ns)
        if nonce_ns < self._floor_ns or pair in self._seen:
            return False
        self._seen.add(pair)
        self._stored.append((max(now_ns, nonce_ns), pair))
        return True

    def _forget(self, horizon_ns: int) -> None:
        while self._stored and self._stored[0][0] < horizon_ns:
            _, pair = self._stored.popleft()
            self._seen.discard(pair)
        self._floor_ns = max(self._floor_ns, horizon_ns)


class SqliteNonces:
    """Nonces shared by every process that opens the same file, and kept across restarts.

    Durable against the death of any process. Not against power loss (no write is awaited): a
    machine takes longer to start than a nonce stays fresh.

    Raises:
        ComputeError: `STORAGE_FAILED` when the file cannot be used.
    """

    durable = True

    def __init__(self, path: Path, retention_s: float = RETENTION_S) -> None:
        self.retention_s = retention_s
        self._lock = threading.Lock()
        self._since_purge = 0
        try:
            self._db = sqlite3.connect(
                path, timeout=2, isolation_level=None, check_same_thread=False
            )
            with closing(self._db.cursor()) as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=OFF")
                cursor.execute(
                    "CREATE TABLE IF NOT EXISTS nonces (nonce INTEGER, hotkey TEXT,"
                    " PRIMARY KEY (nonce, hotkey)) WITHOUT ROWID"
                )
                cursor.execute(
                    "CREATE TABLE IF NOT EXISTS floor (one INTEGER PRIMARY KEY, ns INTEGER)"
                )
                cursor.execute("INSERT OR IGNORE INTO floor VALUES (1, 0)")
        except sqlite3.Error as error:
            raise ComputeError(Code.STORAGE_FAILED, "the store of nonces") from error

    def check_and_store(self, hotkey: str, nonce_ns: int, now_ns: int) -> bool:
        """Store the pair; False if it was seen before or is older than what is remembered."""
        with self._lock, closing(self._db.cursor()) as cursor:
            try:
                self._since_purge += 1
                if self._since_purge >= _PURGE_EVERY:
                    self._forget(cursor, now_ns - int(self.retention_s * SECOND))
                cursor.execute(
                    "INSERT OR IGNORE INTO nonces SELECT ?, ? FROM floor WHERE one = 1 AND ns <= ?",
                    (nonce_ns, hotkey, nonce_ns),
                )
            except sqlite3.Error as error:
                raise ComputeError(Code.STORAGE_FAILED, "the store of nonces") from error
            return cursor.rowcount == 1

    def _forget(self, cursor: sqlite3.Cursor, horizon_ns: int) -> None:
        self._since_purge = 0
        cursor.execute("UPDATE floor SET ns = max(ns, ?)", (horizon_ns,))
        cursor.execute("DELETE FROM nonces WHERE nonce < (SELECT ns FROM floor)")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
