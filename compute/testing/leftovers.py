"""Counts what a run left behind: nothing is the only right answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import docker

from compute.domain.container import OWNER


@dataclass(frozen=True, slots=True)
class Leftovers:
    """How many things of a run are still there."""

    containers: int = 0
    networks: int = 0
    volumes: int = 0
    processes: int = 0


def count_leftovers(
    client: docker.DockerClient, owners: Iterable[str], pids: Iterable[int], folder: Path
) -> Leftovers:
    """Count what is left in the engine and among the processes.

    Args:
        client: of the engine.
        owners: labels of the run's miners.
        pids: of the run's processes.
        folder: of the run: any process that names it on its command line counts too.
    """
    labels = [f"{OWNER}={owner}" for owner in owners if owner]
    return Leftovers(
        containers=sum(
            len(client.containers.list(all=True, filters={"label": label})) for label in labels
        ),
        networks=sum(len(client.networks.list(filters={"label": label})) for label in labels),
        volumes=sum(len(client.volumes.list(filters={"label": label})) for label in labels),
        processes=len({*_alive(pids), *_naming(folder)}),
    )


def _alive(pids: Iterable[int]) -> set[int]:
    return {pid for pid in pids if pid and _state(pid) not in ("", "Z")}


def _state(pid: int) -> str:
    """The kernel's letter for a process's state; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _naming(folder: Path) -> set[int]:
    """Processes with this folder on their command line."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(str(folder).encode()) for word in words):
            found.add(int(entry.parent.name))
    return found
