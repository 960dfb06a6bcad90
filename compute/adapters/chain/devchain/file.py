"""The SQLite file that several processes share as one chain: transactions, and what time it is.

Blocks are derived from the clock, so nothing has to run for them to pass. Readers never block
(write-ahead log); writers queue up for the file's one write lock. A process that is killed in the
middle of a transaction leaves the file as it was before that transaction.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bittensor import RpcConnectionError

from compute.adapters.chain.devchain.params import ChainParams
from compute.adapters.chain.devchain.schema import SCHEMA, VERSION

Clock = Callable[[], float]
"""Seconds since 1970."""

LOCK_WAIT_S = 5.0
"""How long a writer waits for the others; each of them holds the lock for milliseconds."""


class DevChainAwayError(RpcConnectionError):
    """The chain's file cannot be used: missing, damaged, locked for too long, or unwritable."""


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction on the file.

    Attributes:
        db: the connection, inside the transaction.
        head: number of the current block.
        params: constants of the chain.
        genesis: hash of block 0, 32 bytes; tells one chain from another.
        started_at: time of the first block, in seconds since 1970.
        skipped: blocks that came at once, by `advance`, and took no time.
    """

    db: sqlite3.Connection
    head: int
    params: ChainParams
    genesis: bytes
    started_at: float
    skipped: int = 0

    def time_of(self, block: int) -> float:
        """When a block came, in seconds since 1970; exact for those after the last `advance`."""
        return self.started_at + max(0, block - 1 - self.skipped) * self.params.block_s


class ChainFile:
    """One process's handle on a chain's file. Not for use by two threads at once.

    Every method raises `DevChainAwayError` when the file cannot be used, and finds it again by
    itself when it is back.
    """

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self.path = path
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._fixed: tuple[ChainParams, bytes, float] | None = None

    @classmethod
    def create(cls, path: Path, params: ChainParams, clock: Clock = time.time) -> "ChainFile":
        """Make a new chain; raises `FileExistsError` where there is a file already."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _write_genesis(draft, params, clock())
            if not path.exists():
                # SQLite would play a log that an earlier chain left here into the new one.
                for suffix in ("-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return cls(path, clock)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        if self._db is not None:
            self._db.close()
        self._db = self._inode = self._fixed = None

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent view; nothing that is written meanwhile is seen."""
        with self._transaction("BEGIN") as tx:
            yield tx

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """The only writer; committed at the end, undone on an exception."""
        with self._transaction("BEGIN IMMEDIATE") as tx:
            tx.db.execute(
                "UPDATE meta SET value = ? WHERE key = 'head' AND CAST(value AS INTEGER) < ?",
                (str(tx.head), tx.head),
            )
            yield tx

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Tx]:
        try:
            db = self._connection()
            db.execute(begin)
            try:
                yield self._tx(db)
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a defect of ours, not of the file
        except sqlite3.Error as error:
            self.close()
            raise _away(error) from error

    def _connection(self) -> sqlite3.Connection:
        """The open connection, reopened when the file was replaced under it."""
        try:
            stat = self.path.stat()
        except OSError as error:
            self.close()
            raise DevChainAwayError("the development chain's file does not exist") from error
        inode = (stat.st_dev, stat.st_ino)
        if self._db is None or inode != self._inode:
            self.close()
            self._db = _open(self.path)
            self._inode = inode
        return self._db

    def _tx(self, db: sqlite3.Connection) -> Tx:
        if self._fixed is None:
            self._fixed = _fixed(db)
        params, genesis, started_at = self._fixed
        rows = db.execute("SELECT value FROM meta WHERE key IN ('head', 'skipped') ORDER BY key")
        highest, skipped = (int(value) for (value,) in rows)
        elapsed = 0 if params.manual else int((self._clock() - started_at) / params.block_s)
        # Never backwards, even when somebody sets the clock back.
        head = max(1 + elapsed + skipped, highest)
        return Tx(db, head, params, genesis, started_at, 0 if params.manual else skipped)


def _write_genesis(path: Path, params: ChainParams, now: float) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        meta = {
            "version": VERSION,
            "params": params.model_dump_json(),
            "genesis": secrets.token_hex(32),
            "started_at": now,
            "skipped": 0,
            "head": 1,
            "shield_seed": secrets.token_hex(64),
        }
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in meta.items()])
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
    path.chmod(0o600)


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=LOCK_WAIT_S,
            check_same_thread=False,
        )
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise _away(error) from error
    return db


def _fixed(db: sqlite3.Connection) -> tuple[ChainParams, bytes, float]:
    """What never changes in a chain."""
    meta = dict(db.execute("SELECT key, value FROM meta"))
    if meta.get("version") != str(VERSION):
        raise DevChainAwayError("the development chain's file is of another version: make it anew")
    return (
        ChainParams.model_validate(json.loads(meta["params"])),
        bytes.fromhex(meta["genesis"]),
        float(meta["started_at"]),
    )


def _away(error: sqlite3.Error) -> DevChainAwayError:
    """Say in a person's words why SQLite gave up."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return DevChainAwayError("the development chain's file is locked by another process")
    if "readonly" in text or "unable to open" in text:
        return DevChainAwayError("the development chain's file cannot be opened for writing")
    if "full" in text or "disk I/O" in text:
        return DevChainAwayError("the disk of the development chain's file fails or is full")
    if isinstance(error, sqlite3.OperationalError) and "no such table" not in text:
        return DevChainAwayError(f"the development chain's file cannot be used: {text}")
    return DevChainAwayError("the development chain's file is damaged or no chain at all")
