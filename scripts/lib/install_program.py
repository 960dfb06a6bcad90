"""The installed program: which files belong to it, and the small commands beside it."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from install_hands import Hands

USER = "compute"
SERVICES = ("compute-guard", "compute-miner")
# What belongs to a place and not to a release: it stays when the program is replaced.
KEPT = frozenset({".venv", ".state"})
_LEFT_OUT = frozenset({"tests", "__pycache__"})
# Where the units and the environment file of the checkout say that things are.
_PREFIX, _STATE, _ENV = "/opt/compute", "/var/lib/compute", "/etc/compute/miner.env"

_WRAPPER = """\
#!/bin/sh
# {about}
# Written by scripts/install-miner; it is written again at each upgrade.
while IFS= read -r line || [ -n "$line" ]; do
    case "$line" in
    [A-Z]*=\\"*\\") value="${{line#*=\\"}}"; export "${{line%%=*}}=${{value%\\"}}" ;;
    [A-Z]*=*) export "$line" ;;
    esac
done <'{env}'
: "${{COMPUTE_STATE:={state}/miner}}"
export COMPUTE_STATE PYTHONPATH='{prefix}'
cd '{prefix}'
{drop}exec '{prefix}/.venv/bin/python' {program} "$@"
"""
# As root, become the service's user with the service's capabilities.
_DROP = """\
if [ "$(id -u)" = 0 ]; then
    export HOME='{state}'
    exec setpriv --reuid {user} --regid {user} --groups docker \\
        --inh-caps +net_admin,+net_raw,+dac_read_search \\
        --ambient-caps +net_admin,+net_raw,+dac_read_search \\
        '{prefix}/.venv/bin/python' {program} "$@"
fi
"""


@dataclass(frozen=True)
class Layout:
    """Where a miner is installed.

    Attributes:
        prefix: of the program.
        state: of everything that lasts.
        env_file: of the settings.
        units: of systemd's units.
        services: whether systemd runs the miner, under a user of its own.
    """

    prefix: Path
    state: Path
    env_file: Path
    units: Path
    services: bool

    @property
    def user(self) -> str:
        """The user that the miner runs as; empty: whoever starts it."""
        return USER if self.services else ""

    @property
    def record(self) -> Path:
        """What the installer remembers of what it installed."""
        return self.state / "install.json"

    @property
    def backups(self) -> Path:
        """Where copies from before each upgrade lie."""
        return self.state / "backups"

    def placed(self, text: str) -> str:
        """A unit or an environment file of the checkout, with this installation's places."""
        lines = text.replace(_ENV, str(self.env_file)).replace(_PREFIX, str(self.prefix))
        if str(self.state) == _STATE:
            return lines
        out = []
        for line in lines.splitlines():
            # systemd makes state folders below /var/lib alone; others are made by the installer.
            if line.startswith("StateDirectory="):
                out.append(f"ReadWritePaths={self.state}")
            elif not line.startswith("StateDirectoryMode="):
                out.append(line.replace(_STATE, str(self.state)))
        return "\n".join(out) + "\n"


def files_of(root: Path) -> list[Path]:
    """Files of a release, relative to its folder: those that git tracks, or all that are there."""
    return sorted(path for path in _named(root) if _belongs(path) and (root / path).is_file())


def _named(root: Path) -> Iterator[Path]:
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
        listing = subprocess.run(command, capture_output=True, text=True, check=False)
        if listing.returncode == 0:
            yield from (Path(name) for name in listing.stdout.split("\0") if name)
            return
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if _belongs(Path(name))]
        yield from (Path(folder, name).relative_to(root) for name in names)


def _belongs(path: Path) -> bool:
    """Not a test, a cache, nor hidden, such as the virtual environment."""
    return not any(part in _LEFT_OUT or part.startswith(".") for part in path.parts)


def digest_of(root: Path, files: list[Path]) -> str:
    """A hash of a release: names, modes and contents."""
    total = hashlib.sha256()
    for file in files:
        content = (root / file).read_bytes()
        executable = (root / file).stat().st_mode & 0o100
        total.update(f"{file}\0{executable}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def replace_program(hands: Hands, source: Path, files: list[Path], prefix: Path) -> None:
    """Put a release in the place of the one that is there; its virtual environment stays.

    Everybody may read it, whatever the checkout's modes: the miner's user is not who installs.
    """
    for old in sorted(prefix.iterdir()) if prefix.is_dir() else ():
        if old.name not in KEPT:
            hands.remove(old)
    hands.folder(prefix, 0o755)
    for file in files:
        hands.copy(source / file, prefix / file)
        if not hands.dry:
            target = prefix / file
            target.chmod(0o755 if target.stat().st_mode & 0o100 else 0o644)
    if hands.dry:
        hands.note(f"would copy: {len(files)} files to {prefix}")


def stamps_of(venv: Path) -> dict[str, str]:
    """Which packages a virtual environment holds, as scripts/bootstrap has noted it."""
    return {path.name: path.read_text() for path in venv.glob(".installed-*")}


def write_commands(hands: Hands, layout: Layout) -> None:
    """Write `bin/compute` and `bin/compute-miner`: the program with the miner's settings."""
    commands = {
        "compute": ("The command `compute` as this machine's miner.", "-m compute.cli.main"),
        "compute-miner": ("The miner in the foreground.", f"'{layout.prefix}/neurons/miner.py'"),
    }
    for name, (about, program) in commands.items():
        places = {"prefix": layout.prefix, "state": layout.state, "program": program}
        drop = _DROP.format(**places, user=USER) if layout.services else ""
        text = _WRAPPER.format(**places, about=about, env=layout.env_file, drop=drop)
        hands.write(layout.prefix / "bin" / name, text, 0o755)


def units_of(layout: Layout, program: Path) -> Iterator[tuple[Path, str]]:
    """Each unit of a miner, from a release's folder: where it goes, and its text."""
    for service in SERVICES:
        text = (program / "deploy" / "systemd" / f"{service}.service").read_text()
        yield layout.units / f"{service}.service", layout.placed(text)
