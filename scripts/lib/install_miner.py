"""Installs a miner from this checkout, or upgrades the one that is there.

Packages and the virtual environment, the program, a folder of state, an environment file, the
image that leases start from, units for systemd; at the end the doctor looks at the machine, and its
exit code is this command's. A second run is an upgrade: what is installed is copied first, and
--rollback puts it back. The environment file and the state are never overwritten.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from install_backup import (
    changed,
    choose_backup,
    live_leases,
    make_backup,
    newer_than,
    record_of,
    restore,
)
from install_hands import HOST_UNFIT, USAGE, Hands, InstallError, asked, succeeds
from install_program import (
    KEPT,
    SERVICES,
    USER,
    Layout,
    digest_of,
    files_of,
    replace_program,
    stamps_of,
    units_of,
    write_commands,
)

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEMD = Path("/run/systemd/system")
INTERRUPTED = 130
UNFINISHED = ""
"""The digest of a release that is being put in its place: what is there is worth no backup."""


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; the doctor's exit code, or that of the step that failed."""
    options = _parser().parse_args(arguments)
    hands = Hands(dry=options.dry_run)
    os.umask(0o022)  # the program is for the miner's user as well; what is private says so
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        layout = _layout(options)
        _check(layout, options)
        if options.uninstall:
            return uninstall(hands, layout, yes=options.yes)
        if options.rollback is not None:
            return roll_back(hands, layout, options.rollback, yes=options.yes)
        return install(hands, layout, yes=options.yes)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        print("hint: run this again, or go back with --rollback", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def install(hands: Hands, layout: Layout, *, yes: bool) -> int:
    """Install or upgrade, and let the doctor look.

    Raises:
        InstallError: this release cannot read the databases that are there.
    """
    before = record_of(layout.state)
    new = changed(layout, CHECKOUT)
    if newer := newer_than(layout, CHECKOUT):
        raise InstallError(
            USAGE,
            f"{newer[0]} is of a newer release than {_version(CHECKOUT)}",
            "go back with --rollback, which puts the databases back as well",
        )
    if not asked(_plan(layout, before, new=new), yes=yes or hands.dry):
        return INTERRUPTED
    if before:
        hands.step(f"upgrading {before['version']} to {_version(CHECKOUT)}")
        hands.note(f"kept: {layout.env_file}, {layout.state}, the leases that run")
    running = _stop_miner(hands, layout) if new else _active(layout)
    if new and before.get("digest"):
        hands.step("copying what is installed")
        hands.note(f"backup: {make_backup(hands, layout)}")
    _place_user(hands, layout)
    _place_folders(hands, layout)
    if new:
        files = files_of(CHECKOUT)
        hands.step(f"program: {len(files)} files to {layout.prefix}")
        _remember(hands, layout, UNFINISHED)
        replace_program(hands, CHECKOUT, files, layout.prefix)
        _remember(hands, layout, digest_of(CHECKOUT, files))
    else:
        hands.step(f"program: {layout.prefix} holds this release already")
    _place_settings(hands, layout)
    return _finish(hands, layout, running=running)


def roll_back(hands: Hands, layout: Layout, name: str, *, yes: bool) -> int:
    """Go back to a backup, the newest unless one is named; what is there now is copied first."""
    backup = choose_backup(layout, name)
    then, now = record_of(backup), record_of(layout.state)
    if not asked(f"Go back from {now['version']} to {then['version']}?", yes=yes or hands.dry):
        return INTERRUPTED
    hands.step(f"going back from {now['version']} to {then['version']} ({backup.name})")
    running = _stop_miner(hands, layout)
    if now.get("digest"):
        hands.note(f"backup: {make_backup(hands, layout, backup.name)}")
    hands.write(layout.record, json.dumps(now | {"digest": UNFINISHED}) + "\n", 0o644)
    restore(hands, layout, backup)
    return _finish(hands, layout, running=running)


def uninstall(hands: Hands, layout: Layout, *, yes: bool) -> int:
    """Remove program and units; state, settings and the user stay.

    Raises:
        InstallError: leases run, whose end nobody would see to.
    """
    if (live := live_leases(layout)) and not yes:
        raise InstallError(
            USAGE,
            f"{live} leases have not ended",
            "take no more with 'compute miner drain' and wait, or end it now with --yes: then "
            "their containers stay until you remove them",
        )
    if not asked(f"Remove {layout.prefix}?", yes=yes or hands.dry):
        return INTERRUPTED
    hands.step("removing units and program")
    for service in reversed(SERVICES) if layout.services else ():  # else they are another miner's
        unit = layout.units / f"{service}.service"
        if unit.exists():
            hands.run("systemctl", "disable", "--now", service, must=False)
        hands.remove(unit)
    if layout.services:
        hands.run("systemctl", "daemon-reload")
    hands.remove(layout.prefix)
    hands.remove(layout.record)
    hands.step(f"kept: {layout.state}, {layout.env_file}, the user and all images")
    return 0


def _finish(hands: Hands, layout: Layout, *, running: bool) -> int:
    """From a program in its place to the doctor's table."""
    hands.step("system packages, virtual environment, Python packages")
    venv = layout.prefix / ".venv"
    stamps = stamps_of(venv)
    # Packages are compiled below, on all processors, while the image waits for its mirror.
    setup = {"COMPUTE_STATE": str(layout.state / "setup"), "PIP_NO_COMPILE": "1"}
    hands.run(layout.prefix / "scripts" / "bootstrap", env=setup)
    write_commands(hands, layout)
    fresh = [venv / "lib"] if stamps_of(venv) != stamps else []
    folders = [layout.prefix / "compute", layout.prefix / "neurons", *fresh]
    python = venv / "bin" / "python"
    with hands.beside(python, "-m", "compileall", "-qq", "-j", "0", *folders):
        hands.step("the image that leases start from")
        _make_image(hands, layout, python)
    if layout.services:
        _place_units(hands, layout)
        _start(hands, layout, running=running)
    else:
        hands.step("no systemd: nothing is started")
        hands.note(f"start the miner yourself: {layout.prefix}/bin/compute-miner")
    hands.step("looking at this machine: compute doctor")
    return hands.run(layout.prefix / "bin" / "compute", "doctor", must=False)


def _place_user(hands: Hands, layout: Layout) -> None:
    if not layout.services or succeeds(["id", USER]):
        return
    hands.step(f"system user {USER}")
    home = ["--home-dir", str(layout.state), "--no-create-home"]
    hands.run("useradd", "--system", *home, "--shell", "/usr/sbin/nologin", "--user-group", USER)


def _place_folders(hands: Hands, layout: Layout) -> None:
    """The miner's folders belong to it; image and setup, which root writes, to root."""
    for folder in ("", "miner", "wallets"):
        hands.folder(layout.state / folder, 0o700, layout.user)


def _place_settings(hands: Hands, layout: Layout) -> None:
    """Write the environment file unless there is one: it is the operator's from then on."""
    if layout.env_file.exists():
        hands.step(f"settings: {layout.env_file} is kept as it is")
        return
    hands.step(f"settings: {layout.env_file}")
    example = CHECKOUT / "deploy" / "systemd" / "miner.env.example"
    text = layout.placed(example.read_text())
    if host := os.environ.get("DOCKER_HOST"):
        text += (
            f"\n# The container engine that was named at the installation.\nDOCKER_HOST={host}\n"
        )
    hands.write(layout.env_file, text, 0o640)
    hands.give(layout.env_file, layout.user, group_only=True)
    hands.note("edit it: network, netuid, wallet, and the address that others reach")


def _make_image(hands: Hands, layout: Layout, python: Path) -> None:
    """Make the image now, so that the first start is quick; the doctor tells what is wrong."""
    module = "compute.adapters.engine.baseimage"
    command = [python, "-m", module, "build", "--state", layout.state / "image"]
    settings = _settings(layout)
    if base := settings.get("COMPUTE_IMAGE_BASE"):
        command += ["--base", base]
    env = {"PYTHONPATH": str(layout.prefix)}
    engine = settings.get("COMPUTE_LEASES_ENGINE") or settings.get("DOCKER_HOST")
    if engine and "DOCKER_HOST" not in os.environ:
        env["DOCKER_HOST"] = engine
    if hands.run(*command, env=env, must=False):
        hands.note("the image could not be made; the miner tries again at its start")


def _place_units(hands: Hands, layout: Layout) -> None:
    hands.step(f"units: {', '.join(SERVICES)}")
    for path, text in units_of(layout, CHECKOUT if hands.dry else layout.prefix):
        hands.write(path, text, 0o644)
    hands.run("systemctl", "daemon-reload")
    hands.run("systemctl", "enable", *SERVICES)


def _start(hands: Hands, layout: Layout, *, running: bool) -> None:
    """Start the miner if its hotkey is registered, or if it ran before; say how otherwise."""
    if not running and not hands.dry:
        doctor = [str(layout.prefix / "bin" / "compute"), "doctor", "--check", "registered"]
        if not succeeds(doctor):
            hands.note("not started: no registered hotkey yet, see below. When there is one:")
            hands.note("systemctl start compute-guard compute-miner")
            return
    hands.run("systemctl", "restart", "compute-guard")
    hands.run("systemctl", "restart", "compute-miner")


def _active(layout: Layout) -> bool:
    return layout.services and succeeds(["systemctl", "is-active", "-q", "compute-miner"])


def _stop_miner(hands: Hands, layout: Layout) -> bool:
    """Stop the miner while its program changes; whether it ran. Its leases run on."""
    if not _active(layout):
        return False
    hands.step("stopping the miner; its leases run on")
    hands.run("systemctl", "stop", "compute-miner")
    return True


def _remember(hands: Hands, layout: Layout, digest: str) -> None:
    record = {
        "version": _version(CHECKOUT),
        "commit": _commit(),
        "digest": digest,
        "installed_at": int(time.time()),
        "prefix": str(layout.prefix),
    }
    hands.write(layout.record, json.dumps(record, indent=2) + "\n", 0o644)


def _plan(layout: Layout, before: dict[str, object], *, new: bool) -> str:
    if not before:
        return f"Install {_version(CHECKOUT)} to {layout.prefix}?"
    if not new:
        return f"{_version(CHECKOUT)} is installed already. Go through it again?"
    return f"Upgrade {before['version']} at {layout.prefix} to {_version(CHECKOUT)}?"


def _version(root: Path) -> str:
    words = (root / "compute" / "version.py").read_text().split('"')
    return words[-2]


def _commit() -> str:
    command = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _settings(layout: Layout) -> dict[str, str]:
    """What the environment file sets; empty while there is none."""
    if not layout.env_file.exists():
        return {}
    lines = (line.partition("=") for line in layout.env_file.read_text().splitlines())
    return {name: value.strip('"') for name, _, value in lines if name and not name.startswith("#")}


def _layout(options: argparse.Namespace) -> Layout:
    return Layout(
        prefix=options.prefix.absolute(),
        state=options.state.absolute(),
        env_file=options.env_file.absolute(),
        units=Path("/etc/systemd/system"),
        services=SYSTEMD.is_dir() and not options.no_systemd,
    )


def _check(layout: Layout, options: argparse.Namespace) -> None:
    """Refuse what cannot end well before anything is changed.

    Raises:
        InstallError: this machine or these places do not do.
    """
    if sys.platform != "linux":
        raise InstallError(HOST_UNFIT, "a miner needs Linux")
    if layout.services and os.geteuid() != 0 and not options.dry_run:
        raise InstallError(HOST_UNFIT, "this needs root", "run it with sudo, or with --no-systemd")
    places = (layout.prefix, layout.state, layout.env_file)
    if layout.services and any(" " in str(place) or "'" in str(place) for place in places):
        raise InstallError(USAGE, "a path of a service must hold no space and no quote")
    _check_prefix(layout)
    removing = options.uninstall or options.rollback is not None
    installed = record_of(layout.state)
    if removing and not installed:
        raise InstallError(USAGE, f"no miner is installed with the state {layout.state}")
    if installed.get("prefix", str(layout.prefix)) != str(layout.prefix):
        raise InstallError(
            USAGE,
            f"the miner with the state {layout.state} is at {installed['prefix']}",
            "name that by --prefix, or another state by --state",
        )


def _check_prefix(layout: Layout) -> None:
    """Refuse to replace a folder that holds anything but an installed miner.

    Raises:
        InstallError: it does, or would after this.
    """
    prefix = layout.prefix.resolve()
    if prefix == CHECKOUT or prefix in CHECKOUT.parents or (prefix / ".git").exists():
        raise InstallError(
            USAGE,
            f"{prefix} is, or holds, a checkout",
            "clone elsewhere: an upgrade replaces all of the prefix, and a rollback puts it back",
        )
    state, env_file = layout.state.resolve(), layout.env_file.resolve()
    if prefix in (state, *state.parents) or prefix in env_file.parents:
        raise InstallError(
            USAGE, f"state and settings must not lie in {prefix}, which upgrades replace"
        )
    strange = {path.name for path in prefix.iterdir()} - KEPT if prefix.is_dir() else set()
    ours = record_of(layout.state).get("prefix") == str(layout.prefix)  # also while unfinished
    if strange and not ours and not (prefix / "neurons" / "miner.py").exists():
        raise InstallError(USAGE, f"{prefix} holds something else", "name an empty folder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/install-miner",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--prefix", type=Path, default=Path("/opt/compute"), help="of the program [%(default)s]")
    add("--state", type=Path, default=Path("/var/lib/compute"), help="what lasts [%(default)s]")
    add(
        "--env-file",
        type=Path,
        default=Path("/etc/compute/miner.env"),
        help="the settings [%(default)s]",
    )
    add("--no-systemd", action="store_true", help="neither user nor units; start it yourself")
    add("--dry-run", action="store_true", help="say each step and change nothing")
    add("--yes", action="store_true", help="ask nothing (nothing is asked without a terminal)")
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument(
        "--rollback",
        nargs="?",
        const="",
        metavar="BACKUP",
        help="go back to the release of a backup, the newest unless one is named",
    )
    verbs.add_argument(
        "--uninstall", action="store_true", help="remove units and program; keep the rest"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
