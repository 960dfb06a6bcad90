"""Making a root file system from the machine's own Debian mirror, where no registry answers.

One pass of debootstrap fetches everything; the result is kept as a tar file, so that an engine
with empty data needs no second one.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from compute.adapters.engine.baseimage.mirror import Mirror
from compute.adapters.engine.baseimage.recipe import PACKAGES, PYTHON_PACKAGES, Recipe
from compute.adapters.engine.private.storage import unmount_below
from compute.adapters.engine.private.tools import require_tools
from compute.errors import Code, EngineError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMIT_S = 1800
_WORK_PREFIX = "rootfs-"
# Nobody reads manuals in a lease, and nothing needs to survive a power cut while it is made.
_DPKG_SETTINGS = """\
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
"""
_APT_SETTINGS = 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n'
_LEFT_OUT = (
    "./dev/*",
    "./proc/*",
    "./sys/*",
    "./run/*",
    "./tmp/*",
    "./var/cache/apt/archives/*.deb",
    "./var/cache/debconf/*-old",
    "./var/log/*.log",
    "./etc/resolv.conf",
    "./etc/hostname",
    "./debootstrap",
)
# Every file gets this time (2020-01-01), so that the same packages make the same archive.
_MTIME = "@1577836800"


def bootstrap_archive(
    recipe: Recipe, mirror: Mirror, folder: Path, progress: Callable[[str], None]
) -> Path:
    """Make the root file system as a tar file below `folder`, or find the one made before.

    Raises:
        EngineError: `HOST_UNFIT` without root or a tool, `BUILD_FAILED` with the log's end.
    """
    archive = folder / f"rootfs-{mirror.suite}-{recipe.tag}.tar"
    if archive.exists():
        progress(f"base image: root file system of {mirror.suite} kept from before")
        return archive
    if os.geteuid() != 0:
        raise EngineError(Code.HOST_UNFIT, "bootstrapping the base image needs root")
    require_tools("debootstrap", "chroot", "tar")
    _remove_stale(folder)
    progress(f"base image: bootstrapping {mirror.suite} from this machine's mirror (1-2 minutes)")
    with _work_folder(folder) as root:
        log = folder / "bootstrap.log"
        _prepare(root)
        _run(_debootstrap_command(root, mirror), log)
        _upgrade(root, mirror, log, progress)
        _customize(root, recipe, log)
        _pack(root, archive, log)
    _remove_older(archive)
    return archive


def _debootstrap_command(root: Path, mirror: Mirror) -> list[str]:
    packages = ",".join(PACKAGES + PYTHON_PACKAGES)
    command = ["debootstrap", "--variant=minbase", f"--include={packages}"]
    command.append(f"--components={','.join(mirror.primary.components)}")
    if mirror.primary.keyring:
        command.append(f"--keyring={mirror.primary.keyring}")
    return [*command, mirror.suite, str(root), mirror.primary.uri]


def _prepare(root: Path) -> None:
    for name, text in (("dpkg/dpkg.cfg.d", _DPKG_SETTINGS), ("apt/apt.conf.d", _APT_SETTINGS)):
        folder = root / "etc" / name
        folder.mkdir(parents=True)
        (folder / "90compute").write_text(text)


def _upgrade(root: Path, mirror: Mirror, log: Path, progress: Callable[[str], None]) -> None:
    """Take the security updates, which debootstrap does not; without them the image still works."""
    lines = [line for source in mirror.sources for line in source.lines()]
    (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    script = "apt-get -qq update && apt-get -qq -y upgrade && apt-get -qq clean"
    try:
        _run(["chroot", str(root), "/bin/sh", "-c", script], log)
    except EngineError:
        progress("base image: security updates could not be taken")
    policy.unlink()


def _customize(root: Path, recipe: Recipe, log: Path) -> None:
    settings = root / "etc/dpkg/dpkg.cfg.d/90compute"
    settings.write_text(_DPKG_SETTINGS.replace("force-unsafe-io\n", ""))
    files = root / "opt/compute"
    files.mkdir(parents=True)
    for name, content in recipe.files.items():
        (files / name).write_bytes(content)
    _run(["chroot", str(root), "/bin/sh", "/opt/compute/customize.sh"], log)
    shutil.rmtree(files)


def _pack(root: Path, archive: Path, log: Path) -> None:
    part = archive.with_suffix(".part")
    left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    command = ["tar", "--create", f"--file={part}", "--sort=name", "--numeric-owner"]
    command += [f"--mtime={_MTIME}", "--xattrs", *left_out, f"--directory={root}", "."]
    _run(command, log)
    part.rename(archive)


def _run(command: Sequence[str], log: Path) -> None:
    """Run a step in a session of its own, its output in the log; end it whole if we are ended."""
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=_LIMIT_S)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        words = " / ".join(lines[-2:])[-300:]
        raise EngineError(
            Code.BUILD_FAILED, f"{command[0]}: {words}", hint=f"the whole log is {log}"
        )


def _environment() -> dict[str, str]:
    """A clean environment, but for the proxies that lead to the mirror."""
    kept = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
    return (
        kept
        | _apt_proxies(kept)
        | {
            "PATH": _PATH,
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": "/root",
        }
    )


def _apt_proxies(known: dict[str, str]) -> dict[str, str]:
    """The proxies of apt's own settings, as the variables that debootstrap's wget reads."""
    found = {}
    for scheme in ("http", "https"):
        key = f"Acquire::{scheme}::Proxy"
        with contextlib.suppress(OSError):
            dump = subprocess.run(
                ["apt-config", "dump", "--format", "%v", key],
                capture_output=True,
                text=True,
                check=False,
            )
            value = dump.stdout.strip()
            if value.startswith("http") and f"{scheme}_proxy" not in known:
                found[f"{scheme}_proxy"] = value
    return found


@contextlib.contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(dir=folder, prefix=_WORK_PREFIX))
    root.chmod(0o755)
    try:
        yield root
    finally:
        unmount_below(root)
        shutil.rmtree(root, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Remove what a bootstrap that was killed left behind."""
    (folder / "bootstrap.log").unlink(missing_ok=True)
    for left in folder.glob(f"{_WORK_PREFIX}*"):
        if left.is_dir():
            unmount_below(left)
            shutil.rmtree(left, ignore_errors=True)


def _remove_older(archive: Path) -> None:
    for other in archive.parent.glob("rootfs-*.tar"):
        if other != archive:
            other.unlink()
