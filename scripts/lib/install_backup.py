"""Copies from before an upgrade: the release, its settings and its databases, and the way back."""

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from install_hands import USAGE, Hands, InstallError
from install_program import Layout, digest_of, files_of, replace_program

KEPT_BACKUPS = 5
PROGRAM, STATE, RECORD = "program", "state", "install.json"
_LIVE = "select count(*) from lease where state not in ('ended', 'failed')"


def record_of(folder: Path) -> dict[str, Any]:
    """What was installed; empty where nothing was."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found


def make_backup(hands: Hands, layout: Layout, spare: str = "") -> Path:
    """Copy what is installed, while nothing writes the program; databases may be in use.

    Args:
        hands: do it.
        layout: of what is installed.
        spare: the name of an old backup that is kept, however many are newer.

    Raises:
        InstallError: a database cannot be read.
    """
    base = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = layout.backups / base
    hands.folder(layout.backups, 0o700)
    hands.folder(target, 0o700)
    if hands.dry:
        return target
    for file in files_of(layout.prefix):
        hands.copy(layout.prefix / file, target / PROGRAM / file)
    for database in databases(layout):
        copy_database(database, target / STATE / database.relative_to(layout.state))
    if layout.env_file.exists():
        hands.copy(layout.env_file, target / layout.env_file.name)
    hands.copy(layout.record, target / RECORD)
    for old in _names(layout)[:-KEPT_BACKUPS]:
        if old != spare:
            hands.remove(layout.backups / old)
    return target


def restore(hands: Hands, layout: Layout, backup: Path) -> None:
    """Put a backup's release back, and its databases where the releases' tables differ.

    A database whose revision is the same is left as it is, so that no lease is forgotten.
    """
    source = backup / PROGRAM
    replace_program(hands, source, files_of(source), layout.prefix)
    for kept in sorted((backup / STATE).rglob("*.sqlite")):
        now = layout.state / kept.relative_to(backup / STATE)
        if revision_of(now) == revision_of(kept):
            hands.note(f"kept: {now} (both releases read it)")
            continue
        hands.note(f"put back: {now} as of {backup.name}; leases made since then end")
        if not hands.dry:
            _put_back(kept, now)
    known = {path.name for path in (backup / STATE).rglob("*.sqlite")}
    for made_since in (path for path in databases(layout) if path.name not in known):
        hands.note(f"kept: {made_since}, made since {backup.name}; if it is too new, move it away")
    hands.copy(backup / RECORD, layout.record)


def choose_backup(layout: Layout, name: str) -> Path:
    """The backup of this name, the newest when it is empty.

    Raises:
        InstallError: there is none.
    """
    names = _names(layout)
    if not names or (name and name not in names):
        told = ", ".join(names) or "none"
        raise InstallError(USAGE, f"there is no backup {name}".rstrip(), f"those there are: {told}")
    return layout.backups / (name or names[-1])


def databases(layout: Layout) -> list[Path]:
    """The SQLite files of the miner."""
    return sorted((layout.state / "miner").glob("*.sqlite"))


def live_leases(layout: Layout) -> int:
    """Leases that have not ended, by the ledger; 0 where there is no ledger."""
    file = layout.state / "miner" / "miner.sqlite"
    with contextlib.suppress(sqlite3.Error), _opened(file) as database:
        return int(database.execute(_LIVE).fetchone()[0])
    return 0


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file that may be in use, as of one moment.

    Raises:
        InstallError: it cannot be read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _opened(source) as database, contextlib.closing(sqlite3.connect(target)) as copy:
            database.backup(copy)
    except sqlite3.Error as error:
        raise InstallError(1, f"{source} cannot be copied: {error}") from error
    target.chmod(0o600)


def revision_of(database: Path) -> str:
    """The revision of a database's tables; empty where it has none."""
    with contextlib.suppress(sqlite3.Error), _opened(database) as opened:
        row = opened.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else ""
    return ""


def newer_than(layout: Layout, source: Path) -> list[Path]:
    """Databases whose tables a release does not know: it could not open them."""
    migrations = sorted((source / "compute" / "storage" / "migrations").rglob("*.py"))
    lines = (line for file in migrations for line in file.read_text().splitlines())
    known = {line.split('"')[1] for line in lines if line.startswith('revision = "')}
    return [file for file in databases(layout) if revision_of(file) not in {*known, ""}]


def changed(layout: Layout, source: Path) -> bool:
    """Whether a checkout holds another release than the one that is installed."""
    if not (layout.prefix / "neurons" / "miner.py").exists():
        return True
    return record_of(layout.state).get("digest") != digest_of(source, files_of(source))


def _put_back(kept: Path, now: Path) -> None:
    """Replace a database that nobody uses, keeping its owner; its log files go with it."""
    owner = now.stat() if now.exists() else now.parent.stat()
    for ending in ("-wal", "-shm"):
        now.with_name(now.name + ending).unlink(missing_ok=True)
    fresh = now.with_name(f".{now.name}.new")
    shutil.copyfile(kept, fresh)
    fresh.chmod(0o600)
    shutil.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(now)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database opened for reading; one that is not there is not made."""
    connection = sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _names(layout: Layout) -> list[str]:
    if not layout.backups.is_dir():
        return []
    return sorted(path.name for path in layout.backups.iterdir() if (path / RECORD).exists())
