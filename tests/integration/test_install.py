"""The installer on a real engine: install, run, upgrade, go back, remove; and what it refuses."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from compute.errors import Code
from compute.storage.database import Role, open_database
from compute.testing.rig import ADDRESS, Rig, RigPlan, free_port
from tests.command import ROOT

pytestmark = pytest.mark.engine
NEWER = "9.9.9"


@contextlib.contextmanager
def opened(ledger: Path) -> Iterator[sqlite3.Connection]:
    """A ledger, for one transaction."""
    with contextlib.closing(sqlite3.connect(ledger)) as database, database:
        yield database


@dataclass(frozen=True)
class Place:
    """An installation in a folder, from a checkout of its own."""

    root: Path
    environment: dict[str, str]

    @property
    def checkout(self) -> Path:
        """Where the installer is run from."""
        return self.root / "checkout"

    @property
    def prefix(self) -> Path:
        """Where the program goes."""
        return self.root / "opt"

    @property
    def state(self) -> Path:
        """Where everything that lasts lies."""
        return self.root / "var"

    @property
    def env_file(self) -> Path:
        """The settings."""
        return self.root / "etc" / "miner.env"

    @property
    def ledger(self) -> Path:
        """The miner's ledger."""
        return self.state / "miner" / "miner.sqlite"

    def install(self, *arguments: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the installer without a terminal."""
        places = {"--prefix": self.prefix, "--state": self.state, "--env-file": self.env_file}
        flat = [str(part) for pair in places.items() for part in pair]
        return subprocess.run(
            [str(self.checkout / "scripts" / "install-miner"), *flat, "--no-systemd", *arguments],
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def version(self) -> str:
        """The release that is installed."""
        return (self.prefix / "compute" / "version.py").read_text().split('"')[-2]

    def revision(self) -> str:
        """The revision of the ledger's tables."""
        with opened(self.ledger) as database:
            return str(database.execute("select version_num from alembic_version").fetchone()[0])


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if "checkout" not in path.parts}


def lend_packages(venv: Path) -> None:
    """An environment of its own that sees this one's packages, and writes nothing into it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    own = next(venv.glob("lib/python*/site-packages"))
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for stamp in Path(sys.prefix).glob(".installed-*"):
        shutil.copy(stamp, venv)


@pytest.fixture(scope="module")
def place(tmp_path_factory, docker_host, base_image):
    """A registered miner's settings, and this environment's Python packages, lent."""
    root = tmp_path_factory.mktemp("install")
    skipped = shutil.ignore_patterns(".*", "__pycache__", "tests", "build", "dist")
    shutil.copytree(ROOT, root / "checkout", ignore=skipped)
    with Rig(root / "rig", docker_host, RigPlan(block_s=0.25)) as rig:
        rig.register("miner")
        first = 30_000 + os.getpid() % 200 * 20
        settings = {
            "COMPUTE_NETUID": str(rig.plan.netuid),
            "COMPUTE_SUBTENSOR_NETWORK": rig.network,
            "COMPUTE_WALLET_PATH": str(rig.wallets),
            "COMPUTE_WALLET_NAME": "miner",
            "COMPUTE_AXON_HOST": ADDRESS,
            "COMPUTE_AXON_EXTERNAL_IP": f'"{ADDRESS}"',
            "COMPUTE_AXON_PORT": str(free_port()),
            "COMPUTE_LEASES_BIND_ADDRESS": ADDRESS,
            "COMPUTE_LEASES_FIRST_PORT": str(first),
            "COMPUTE_LEASES_LAST_PORT": str(first + 19),
        }
        made = Place(root, rig.environment())
        made.env_file.parent.mkdir()
        made.env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        lend_packages(made.prefix / ".venv")
        yield made


@pytest.fixture(scope="module")
def installed(place):
    """Once installed; its settings as they were before."""
    before = place.env_file.read_text()
    return place, place.install(), before


def test_a_dry_run_says_all_and_changes_nothing(place):
    """Every step is named, and no file is made; a rollback without a backup is refused."""
    before = listing(place.root)
    done = place.install("--dry-run", "--prefix", str(place.root / "other"))
    assert done.returncode == 0, done.stderr
    for step in ("would copy", "would write", "bootstrap", "baseimage build", "compute doctor"):
        assert step in done.stderr
    assert listing(place.root) == before
    refused = place.install("--rollback")
    assert refused.returncode == Code.USAGE.spec.exit_code
    assert "no miner is installed" in refused.stderr


def test_an_installation_ends_in_the_doctors_table(installed):
    """It passes on this machine, keeps the settings that were there, and makes private folders."""
    place, done, settings = installed
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CHECK" in done.stdout
    assert "UID 0 on subnet" in done.stdout
    assert place.env_file.read_text() == settings
    assert (place.state / "miner").stat().st_mode & 0o077 == 0
    assert not (place.prefix / "tests").exists()


def heard(manager: socket.socket, wanted: str) -> list[str]:
    """What the service manager is told until it hears a line."""
    lines: list[str] = []
    while wanted not in lines:
        lines += manager.recv(4096).decode().splitlines()
    return lines


def test_the_installed_miner_serves_and_tells_the_service_manager(installed):
    """It reads its settings file alone, is ready once announced, and says that it stops."""
    place, _, _ = installed
    bare = {name: os.environ[name] for name in ("PATH", "HOME")}
    bare["DOCKER_HOST"] = place.environment["DOCKER_HOST"]
    doctor = [place.prefix / "bin" / "compute", "doctor", "--check", "announced"]
    log = place.root / "miner.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, log.open("wb") as output:
        manager.bind(str(place.root / "notify"))
        manager.settimeout(60)
        asked = {"NOTIFY_SOCKET": str(place.root / "notify"), "WATCHDOG_USEC": "3000000"}
        miner = subprocess.Popen(
            [place.prefix / "bin" / "compute-miner"], env=bare | asked, stdout=output, stderr=output
        )
        try:
            told = heard(manager, "READY=1")
            told += heard(manager, "WATCHDOG=1")
            seen = subprocess.run(
                doctor, env=bare, capture_output=True, text=True, timeout=60, check=False
            )
            miner.terminate()
            heard(manager, "STOPPING=1")
            assert miner.wait(15) == 0
        finally:
            miner.kill()
            miner.wait()
    assert any("announced on chain" in line for line in told), (told, log.read_text())
    assert seen.returncode == 0, seen.stdout + log.read_text()
    assert "answers from here" in seen.stdout


def since(place: Place) -> int:
    """How many facts the ledger has learnt since the upgrade."""
    with opened(place.ledger) as database:
        row = database.execute("select count(*) from meta where name = 'since'").fetchone()
    return int(row[0])


def test_an_upgrade_can_be_gone_back_from(installed):
    """Release and ledger are copied first; going back restores the ledger if its tables changed."""
    place, _, settings = installed
    open_database(f"sqlite:///{place.ledger}", Role.MINER).dispose()
    old, revision = place.version(), place.revision()
    gone = place.checkout / "docs" / "proof.md"
    gone.unlink()
    version = place.checkout / "compute" / "version.py"
    version.write_text(version.read_text().replace(old, NEWER))
    upgraded = place.install()
    assert upgraded.returncode == 0, upgraded.stderr
    assert f"upgrading {old} to {NEWER}" in upgraded.stderr
    assert place.version() == NEWER
    assert not (place.prefix / "docs" / "proof.md").exists()
    (backup,) = (place.state / "backups").iterdir()
    with opened(place.ledger) as database:
        database.execute("insert into meta values ('since', 'the upgrade')")
    same = place.install("--rollback")
    assert same.returncode == 0, same.stdout + same.stderr
    assert (place.version(), since(place)) == (old, 1)
    with opened(place.ledger) as database:  # as a newer release's migration would
        database.execute("update alembic_version set version_num = 'newer'")
    back = place.install("--rollback", backup.name)
    assert back.returncode == 0, back.stdout + back.stderr
    assert (place.version(), place.revision(), since(place)) == (old, revision, 0)
    assert (place.prefix / "docs" / "proof.md").exists()
    assert place.env_file.read_text() == settings


def test_removal_waits_for_leases_and_keeps_state(installed):
    """With a lease in the ledger it refuses; then program goes, state and settings stay."""
    place, _, settings = installed
    with opened(place.ledger) as database:
        names = [row[1] for row in database.execute("pragma table_info(lease)")]
        values = ["active" if name == "state" else "1" for name in names]
        marks = ",".join("?" * len(names))
        database.execute(f"insert into lease values ({marks})", values)  # noqa: S608 - marks alone
    refused = place.install("--uninstall")
    assert refused.returncode == Code.USAGE.spec.exit_code
    assert "1 leases have not ended" in refused.stderr
    assert place.install("--uninstall", "--yes").returncode == 0
    assert not place.prefix.exists()
    assert place.ledger.exists()
    assert place.env_file.read_text() == settings


def test_no_folder_of_somebody_else_is_replaced(place, tmp_path):
    """A prefix with other files, a checkout, or the state inside it is refused untouched."""
    (tmp_path / "mine").write_text("precious")
    for prefix, why in (
        (tmp_path, "holds something else"),
        (place.checkout, "is, or holds, a checkout"),
        (place.root / "new", "must not lie in"),
    ):
        state = ("--state", str(prefix / "state")) if why == "must not lie in" else ()
        done = place.install("--prefix", str(prefix), *state)
        assert done.returncode == Code.USAGE.spec.exit_code
        assert why in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"
