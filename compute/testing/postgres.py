"""A PostgreSQL server of one's own: a folder, a socket in it, no network, gone afterwards."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine, text

DEBIAN = Path("/usr/lib/postgresql")  # Debian keeps the server's programs off the path
_SHORT = "/tmp"  # noqa: S108 - a socket's path is short, and everybody may enter
_UNPRIVILEGED = "nobody"  # the server refuses to run as root
_END_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
)
_OPTIONS = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=50",
)


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: the system's or a package's; None where neither is."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(DEBIAN.glob("*/bin/initdb"))
    return installed[-1].parent if installed else packaged_programs()


def packaged_programs() -> Path | None:
    """The programs within the Python package `pgserver`, which nothing else of is used."""
    package = find_spec("pgserver")
    if package is None or package.origin is None:
        return None
    programs = Path(package.origin).parent / "pginstall" / "bin"
    return programs if (programs / "initdb").exists() else None


class Postgres:
    """A running server.

    Args:
        folder: where its socket is.
    """

    def __init__(self, folder: Path) -> None:
        self._url = f"postgresql+psycopg://compute@/postgres?host={folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of what is as good as an empty database; it is cleared away afterwards.

        It is a schema of its own: another database would cost a second of checkpoints.
        """
        name = f"test_{secrets.token_hex(8)}"
        admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        try:
            with admin.connect() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {name}")
            yield f"{self._url}&application_name={name}&options=-csearch_path%3D{name}"
        finally:
            with admin.connect() as connection:
                connection.execute(_END_OTHERS, {"name": name})
                connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
            admin.dispose()


@contextmanager
def serving_postgres(programs: Path) -> Iterator[Postgres]:
    """Run a server while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir=_SHORT, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
            programs = _reachable(programs, folder)
        data = folder / "data"
        options = " ".join(f"-c {option}" for option in _OPTIONS)
        start = ("-w", "-t", "60", "-o", f"-k {folder} {options}", "-l", str(folder / "log"))
        _run(user, programs / "initdb", "-D", data, "-U", "compute", "-A", "trust", *_INIT)
        _run(user, programs / "pg_ctl", "-D", data, *start, "start")
        try:
            yield Postgres(folder)
        finally:
            _run(user, programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _reachable(programs: Path, folder: Path) -> Path:
    """Programs that a user without rights may run: a package's may lie in a closed folder."""
    if programs != packaged_programs():
        return programs
    package = programs.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, folder / "programs" / part.name)
    return folder / "programs" / programs.relative_to(package.parent)


_INIT = ("--no-sync", "-E", "UTF8", "--locale=C")


def _run(user: str | None, *command: str | Path) -> None:
    """Run a program to its end, as a user without rights where we have all of them."""
    groups: list[str] | None = [] if user else None
    subprocess.run(
        [str(part) for part in command],
        user=user,
        extra_groups=groups,
        cwd="/",
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
