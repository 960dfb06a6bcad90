"""Checks of the machine itself: Python, folders, disks, files, ports."""

import contextlib
import platform
import resource
import secrets
import shutil
import socket
import sys
from pathlib import Path

from compute.errors import Code, ComputeError
from compute.probes.exam import Exam
from compute.probes.steps import StepNote

LEAST_PYTHON = (3, 11)
LEAST_FILES = 4096
MIB = 2**20
GIB_MIB = 1024
# Room for logs, the database and one image on top of what the settings keep for the host.
SPARE_MIB = 10 * GIB_MIB
ENOUGH_PORTS = 16
ENDPOINT_S = 5.0


async def python(_exam: Exam, note: StepNote) -> None:
    """The interpreter is new enough."""
    found = sys.version_info[:2]
    if found < LEAST_PYTHON:
        raise ComputeError(
            Code.HOST_UNFIT,
            f"this is Python {platform.python_version()}",
            hint="install Python 3.11 or newer",
        )
    note.passed(f"Python {platform.python_version()}")


async def state(exam: Exam, note: StepNote) -> None:
    """The state folder can be written."""
    trial = exam.state / f".doctor-{secrets.token_hex(4)}"
    there = exam.state.exists()
    try:
        exam.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        trial.write_bytes(bytes(4096))
    except OSError as error:
        if error.errno in _FULL:
            raise ComputeError(Code.DISK_FULL, f"{exam.state}: {error.strerror}") from error
        raise ComputeError(
            Code.STORAGE_FAILED,
            f"{exam.state}: {error.strerror}",
            hint="let it belong to the user that runs the neuron, or name another by --state",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)
    if not there:
        exam.state.rmdir()
        note.passed(f"{exam.state} can be made")
        return
    if exam.state.stat().st_mode & 0o077:
        note.warn_as(
            Code.STORAGE_FAILED,
            f"{exam.state} is open to others",
            f"chmod 700 {exam.state}",
        )
        return
    note.passed(f"{exam.state} can be written")


async def disk(exam: Exam, note: StepNote) -> None:
    """There is room where state and images are."""
    keep = exam.miner.leases.reserve_disk_mib if exam.miner else GIB_MIB
    folders = [exam.state]
    if root := exam.engine.get("DockerRootDir"):
        folders.append(Path(root))
    found = {folder: _free_mib(folder) for folder in folders}
    tight = min(found, key=lambda folder: found[folder])
    told = ", ".join(f"{mib / GIB_MIB:.1f} GiB at {folder}" for folder, mib in found.items())
    if found[tight] < keep:
        raise ComputeError(
            Code.DISK_FULL,
            f"{found[tight]} MiB free at {tight}, and {keep} MiB are kept for the host",
        )
    if exam.miner and found[tight] < keep + SPARE_MIB:
        note.warn_as(Code.DISK_FULL, f"{told} free: hardly room for a lease")
        return
    note.passed(f"{told} free")


async def files(_exam: Exam, note: StepNote) -> None:
    """Enough files and sockets may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES and hard < LEAST_FILES:
        note.warn_as(
            Code.HOST_UNFIT,
            f"at most {hard} files may be open",
            f"raise it: ulimit -n {LEAST_FILES}, or LimitNOFILE= in the unit",
        )
        return
    note.passed(f"{max(soft, hard)} files may be open")


async def port(exam: Exam, note: StepNote) -> None:
    """The axon's port is free, or the miner itself holds it."""
    axon = exam.miner.axon if exam.miner else None
    if axon is None:
        note.passed("no port is needed")
        return
    problem = _bound(axon.host, axon.port)
    if exam.running and problem:
        note.passed(f"the running miner listens on {axon.host}:{axon.port}")
    elif problem:
        raise ComputeError(Code.PORT_TAKEN, f"{axon.host}:{axon.port}: {problem}")
    elif exam.running:
        raise ComputeError(
            Code.PEER_AWAY,
            f"the miner runs, but nothing listens on {axon.host}:{axon.port}",
            hint="name the port that the miner was started with: --set axon.port=N",
        )
    else:
        note.passed(f"{axon.host}:{axon.port} is free; open it in the firewall, for TCP")


async def lease_ports(exam: Exam, note: StepNote) -> None:
    """There are free ports to publish leases on."""
    if exam.miner is None:
        note.passed("no ports are needed")
        return
    leases = exam.miner.leases
    first, last = leases.first_port, leases.last_port
    free = sum(not _bound(leases.bind_address, number) for number in range(first, last + 1))
    if not free:
        raise ComputeError(
            Code.PORT_TAKEN,
            f"no port from {first} to {last} is free",
            hint="choose others with --leases.first_port and --leases.last_port",
        )
    if free < min(ENOUGH_PORTS, last - first + 1):
        note.warn_as(Code.PORT_TAKEN, f"only {free} ports from {first} to {last} are free")
        return
    note.passed(f"{free} ports from {first} to {last} are free; open them in the firewall")


_FULL = frozenset({28, 122})  # ENOSPC and EDQUOT


def _free_mib(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free // MIB


def _bound(host: str, number: int) -> str:
    """Why a port cannot be listened on; empty when it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            return error.strerror or "it cannot be bound"
    return ""
