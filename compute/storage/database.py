"""Opening a role's database: connection habits, and migrations up to the newest revision.

The miner's and the validator's databases and the validator's history for its dashboard have
separate revisions, in `migrations/miner`, `migrations/validator` and `migrations/history`; they
share one environment, `migrations/env.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from compute.errors import Code, ComputeError

BUSY_TIMEOUT_MS = 30_000  # another process of the same role may hold the write lock for a moment
_WRITERS = int.from_bytes(b"compute")  # our advisory lock in a PostgreSQL database
_MIGRATIONS = Path(str(files("compute.storage"))) / "migrations"


class Role(StrEnum):
    """Whose database it is; also the name of its migrations' folder."""

    MINER = "miner"
    VALIDATOR = "validator"
    HISTORY = "history"


def open_database(url: str, role: Role) -> Engine:
    """Connect, and bring the tables up to date.

    Args:
        url: SQLAlchemy URL; the folder of a SQLite file is made, readable by its owner alone.
        role: whose tables.

    Raises:
        ComputeError: `STORAGE_FAILED` when the database cannot be used.
    """
    with translated():
        engine = connect(url)
        migrate(engine, role)
    return engine


def connect(url: str) -> Engine:
    """An SQLAlchemy engine; on SQLite with WAL, foreign keys and a busy timeout.

    One transaction writes at a time: whoever reads in order to write holds a lock from the start,
    so that two admissions never see the same free hardware, and two writers never take the same
    place in a log. SQLite transactions begin as `BEGIN IMMEDIATE`, PostgreSQL's with an advisory
    lock.

    Raises:
        ComputeError: `STORAGE_FAILED` when the URL's driver is not installed.
    """
    try:
        engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except ImportError as error:
        raise ComputeError(
            Code.STORAGE_FAILED,
            f"the database's driver '{error.name}' is not installed",
            hint="for PostgreSQL write postgresql+psycopg://… and install 'psycopg[binary]'",
        ) from error
    if engine.dialect.name == "sqlite":
        database = engine.url.database
        if database and database != ":memory:":
            Path(database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
        event.listen(engine, "begin", _lock_writers)
    return engine


def _configure_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what was promised survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


def _configure_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    cursor.close()
    connection.commit()


def _lock_writers(connection: Connection) -> None:
    if not connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def migrate(engine: Engine, role: Role, revision: str = "head") -> None:
    """Bring the tables of a role to a revision; safe to repeat and to race."""
    with engine.begin() as connection:
        command.upgrade(alembic_config(role, connection), revision)


def alembic_config(role: Role, connection: Connection | None = None) -> Config:
    """What Alembic's commands need to work on a role's history."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("version_locations", str(_MIGRATIONS / role.value))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", f"{role.value[0]}%%(rev)s_%%(slug)s")
    config.attributes.update(role=role, connection=connection)
    return config


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's own errors into `STORAGE_FAILED`."""
    try:
        yield
    except (SQLAlchemyError, CommandError, OSError) as error:
        raise ComputeError(Code.STORAGE_FAILED, type(error).__name__) from error


ResultT = TypeVar("ResultT")


def write(engine: Engine, work: Callable[[Connection], ResultT]) -> ResultT:
    """Run work in one writing transaction."""
    with translated(), engine.begin() as connection:
        return work(connection)


def read(engine: Engine, work: Callable[[Connection], ResultT]) -> ResultT:
    """Run work in one reading transaction, which waits for no writer."""
    with translated(), engine.connect().execution_options(read_only=True) as connection:
        return work(connection)
