"""Finding and ending the processes that belong to a private engine, and no other.

A process is ours if its executable is one of the engine's and its command line names this
engine's own folder, or if it lives in this engine's own control group.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from compute.adapters.engine.private.layout import Layout

_ENGINE = "dockerd"
_NAMES = (_ENGINE, "containerd", "containerd-shim")
_CGROUPS = Path("/sys/fs/cgroup")
_POLL_S = 0.02


def engine_processes(layout: Layout) -> list[int]:
    """Processes of this engine itself: the daemon, its containerd, its shims."""
    folders = (str(layout.run) + "/", str(layout.data) + "/")
    return [
        pid
        for pid, name, line in _processes()
        if name in _NAMES and any(folder in line for folder in folders)
    ]


def other_engine_runs() -> bool:
    """Whether any engine runs in this network namespace."""
    here = _network_namespace("self")
    return any(name == _ENGINE and _network_namespace(pid) == here for pid, name, _ in _processes())


def container_processes(layout: Layout) -> list[int]:
    """Processes inside this engine's containers."""
    found: set[int] = set()
    for folder in _cgroup_folders(layout):
        for listing in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(pid) for pid in listing.read_text().split())
    return sorted(found)


def remove_cgroups(layout: Layout) -> None:
    """Remove this engine's control groups, deepest first; a busy one stays."""
    for top in _cgroup_folders(layout):
        folders = [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_room(root: Path = _CGROUPS) -> None:
    """Let the group at the root of cgroup version 2 hand its controllers down.

    Inside a container that group is no true root: while processes live in it, no group below it
    gets a controller (Linux' cgroup-v2.rst, "No Internal Process Constraint"). They are moved to
    a group of their own. On version 1, and on a true root, there is nothing to do.
    """
    if not (root / "cgroup.type").exists():
        return
    wanted = set((root / "cgroup.controllers").read_text().split())
    if wanted and wanted <= set((root / "cgroup.subtree_control").read_text().split()):
        return
    inner = root / "init"
    inner.mkdir(exist_ok=True)
    for pid in (root / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (inner / "cgroup.procs").write_text(pid)
    for controller in wanted:
        with contextlib.suppress(OSError):
            (root / "cgroup.subtree_control").write_text(f"+{controller}")


def end_processes(pids: Iterable[int], *, grace_s: float) -> list[int]:
    """Ask processes to end, and kill those that have not within the grace.

    Returns:
        Those that were killed.
    """
    asked = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    late = _wait_gone(asked, grace_s)
    for pid in late:
        _signal(pid, signal.SIGKILL)
    _wait_gone(late, 5)
    return late


def read_pid(pid_file: Path) -> int | None:
    """The process id in a file, if that process is alive."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if _alive(pid) else None


def _processes() -> Iterable[tuple[int, str, str]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            name = (entry / "comm").read_text().strip()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            yield int(entry.name), name, line


def _network_namespace(pid: int | str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _cgroup_folders(layout: Layout) -> list[Path]:
    name = layout.cgroup.lstrip("/")
    candidates = [_CGROUPS / name, *(_CGROUPS.glob(f"*/{name}"))]
    return [folder for folder in candidates if folder.is_dir()]


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def _wait_gone(pids: list[int], limit_s: float) -> list[int]:
    deadline = time.monotonic() + limit_s
    left = [pid for pid in pids if _alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [pid for pid in left if _alive(pid)]
    return left
