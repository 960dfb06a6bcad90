"""The installer's own steps where they go wrong: a full disk, old backups, strange places."""

import errno
import os
import signal
import sqlite3
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT

sys.path.append(str(ROOT / "scripts" / "lib"))
import install_backup
import install_miner
from install_hands import Hands, InstallError
from install_program import Layout

FILES = ("compute/version.py", "deploy/systemd/miner.env.example", "docs/a.md", "neurons/miner.py")


class Tools(Hands):
    """Hands that change files alone, on a disk that holds so many more."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__(dry=False)
        self.room = room

    def run(self, *_command: Any, **_options: Any) -> int:
        """Nothing but files is looked at here."""
        return 0

    @contextmanager
    def beside(self, *_command: Any) -> Iterator[None]:
        """As `run`."""
        yield

    def copy(self, source: Path, target: Path) -> None:
        """Copy, until the disk is full."""
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().copy(source, target)


@pytest.fixture
def layout(tmp_path):
    """Places without a service manager."""
    env_file = tmp_path / "etc" / "miner.env"
    return Layout(tmp_path / "opt", tmp_path / "var", env_file, tmp_path / "units", services=False)


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Makes the installer run from the checkout of a release."""

    def choose(version: str) -> Path:
        root = tmp_path / f"checkout-{version}"
        for name in FILES:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f'VERSION = "{version}"\n')
        monkeypatch.setattr(install_miner, "CHECKOUT", root)
        return root

    return choose


def installed(layout: Layout) -> set[str]:
    """The versions of the files that are installed."""
    return {(layout.prefix / name).read_text().split('"')[1] for name in FILES}


COPIES = len(FILES) + 4  # of a backup: with two commands, the settings and the record


@pytest.mark.parametrize("room", range(COPIES + len(FILES)))
def test_an_upgrade_that_fills_the_disk_can_be_gone_back_from(layout, release, room):
    """Before the program is touched all is as it was; after that the copy of it is whole."""
    old = release("1")
    install_miner.install(Tools(), layout, yes=True)
    release("2")
    with pytest.raises(OSError, match="No space"):
        install_miner.install(Tools(room), layout, yes=True)
    install_miner._check_prefix(layout)
    if room >= COPIES:
        assert install_backup.changed(layout, old)
        install_miner.roll_back(Tools(), layout, "", yes=True)
    assert installed(layout) == {"1"}
    assert not install_backup.changed(layout, old)


def test_an_older_release_is_not_installed_over_newer_databases(layout, release):
    """It is refused before the miner is stopped: the older one could not open them."""
    root = release("1")
    migration = root / "compute" / "storage" / "migrations" / "miner" / "m0001.py"
    migration.parent.mkdir(parents=True)
    migration.write_text('revision = "0001"\n')
    layout.state.joinpath("miner").mkdir(parents=True)
    with sqlite3.connect(layout.state / "miner" / "miner.sqlite") as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('0001')")
    install_miner.install(Tools(), layout, yes=True)
    with sqlite3.connect(layout.state / "miner" / "miner.sqlite") as database:
        database.execute("update alembic_version set version_num = '0002'")
    with pytest.raises(InstallError, match="newer release"):
        install_miner.install(Tools(room=0), layout, yes=True)


def test_the_oldest_backup_can_be_gone_back_to(layout, release):
    """The copy that a rollback makes first does not push out the one that is wanted."""
    for number in range(install_backup.KEPT_BACKUPS + 1):
        release(str(number))
        install_miner.install(Tools(), layout, yes=True)
        for made in layout.backups.glob("2*"):  # one a second is all that names tell apart
            made.rename(made.with_name(f"1{number}"))
    install_miner.roll_back(Tools(), layout, "11", yes=True)
    assert installed(layout) == {"0"}


def test_the_program_may_be_read_by_the_miners_user(layout, release):
    """Whatever root's umask and the checkout's modes are; its state stays private."""
    root = release("1")
    for name in FILES:
        (root / name).chmod(0o600)
    umask, handler = os.umask(0o077), signal.getsignal(signal.SIGTERM)
    try:
        places = (f"--prefix={layout.prefix}", f"--state={layout.state}")
        install_miner.main(["--dry-run", "--no-systemd", *places])
        install_miner.install(Tools(), layout, yes=True)
    finally:
        os.umask(umask)
        signal.signal(signal.SIGTERM, handler)
    modes = {path.stat().st_mode & 0o077 for path in layout.prefix.rglob("*")}
    assert modes == {0o055, 0o044}
    assert (layout.state / "miner").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", ["state", "link"])
def test_a_prefix_that_upgrades_would_empty_is_refused(tmp_path, layout, release, place):
    """Neither the state itself nor a link to the checkout is a place for the program."""
    root = release("1")
    (tmp_path / "link").symlink_to(root)
    prefix = {"state": layout.state, "link": tmp_path / "link"}[place]
    strange = Layout(prefix, layout.state, layout.env_file, layout.units, services=False)
    with pytest.raises(InstallError):
        install_miner._check_prefix(strange)


def test_removal_touches_no_other_miner(tmp_path, layout, release):
    """Neither the units of one that systemd runs, nor a program that this state is not of."""
    release("1")
    install_miner.install(Tools(), layout, yes=True)
    unit = layout.units / "compute-miner.service"
    unit.parent.mkdir()
    unit.touch()
    other = replace(layout, prefix=tmp_path / "other")
    with pytest.raises(InstallError, match=str(layout.prefix)):
        install_miner._check(other, Namespace(uninstall=True, rollback=None, dry_run=False))
    assert install_miner.uninstall(Tools(), layout, yes=True) == 0
    assert unit.exists()
    assert not layout.prefix.exists()
