"""What tests left behind: processes, and in the engine containers, networks and volumes.

A daemon that a test started and forgot would otherwise live on unseen, its parent long gone. The
kernel is asked to hand such orphans to this process, which can then name and end them.
"""

import ctypes
import os
import time
from pathlib import Path

import docker

from compute.adapters.engine.private import Layout
from compute.adapters.engine.private.processes import end_processes

# From linux/prctl.h: orphans below this process become its children, not those of process 1.
_PR_SET_CHILD_SUBREAPER = 36
_OWN_NETWORKS = {"bridge", "host", "none"}
_GRACE_S = 5.0
_POLL_S = 0.1
_SHOWN = 160


def adopt_orphans() -> None:
    """Become the parent of whatever loses its own below this process."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_orphans() -> list[str]:
    """End all processes below this one that do not soon end themselves; a line for each."""
    deadline = time.monotonic() + _GRACE_S
    while (found := _running()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    end_processes(found, grace_s=_GRACE_S)
    return [f"process {command[:_SHOWN]}" for command in found.values()]


def find_leftovers() -> list[str]:
    """One line for each thing left in the engine; empty where there is no telling whose it is.

    Asked only of a private engine that nobody keeps: there everything is the tests' own.
    """
    layout = Layout.of(Path(os.environ["COMPUTE_STATE"]))
    if os.environ["DOCKER_HOST"] != layout.docker_host or layout.keep_mark.exists():
        return []
    client = docker.DockerClient(base_url=layout.docker_host)
    try:
        return [
            *(f"container {c.name} ({c.status})" for c in client.containers.list(all=True)),
            *(f"network {n.name}" for n in client.networks.list() if n.name not in _OWN_NETWORKS),
            *(f"volume {v.name}" for v in client.volumes.list()),
        ]
    finally:
        client.close()


def _running() -> dict[int, str]:
    """Processes below this one with their command lines, without those that have ended."""
    commands = {pid: _command(pid) for pid in _below(os.getpid())}
    return {pid: command for pid, command in commands.items() if command}


def _below(pid: int) -> list[int]:
    """All processes below this one, children before their own children."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        children = [int(child) for child in listing.read_text().split()]
    except OSError:
        return []
    return children + [deeper for child in children for deeper in _below(child)]


def _command(pid: int) -> str:
    """The command line; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
