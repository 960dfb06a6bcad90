"""Checks of the container engine: whether it answers, and whether its limits will bite."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import docker
from docker.utils import kwargs_from_env

from compute.adapters.engine.baseimage import (
    BaseImage,
    BaseImageSettings,
    Recipe,
    find_base_image,
)
from compute.adapters.engine.disk import loop_hindrance
from compute.adapters.engine.faults import translated
from compute.adapters.engine.firewall import choose_firewall
from compute.adapters.hardware.machine import LocalHardware
from compute.errors import Code, ComputeError, EngineError
from compute.probes.exam import Exam
from compute.probes.steps import StepNote

ENGINE_S = 10
LEAST_API = (1, 41)  # Docker 20.10
# What `docker info` says where the kernel or the engine cannot hold a lease to its limits.
LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsQuota": "processor time",
    "CPUSet": "processors",
    "PidsLimit": "processes",
}
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", ("0x0300", "0x0302")


async def engine(exam: Exam, note: StepNote) -> None:
    """The engine answers."""
    url = exam.miner.leases.engine if exam.miner else ""
    exam.client = await asyncio.to_thread(_connect, url)
    exam.engine = await asyncio.to_thread(_info, exam.client)
    note.passed(f"{exam.engine.get('OperatingSystem', 'an engine')} answers")


def _connect(url: str) -> Any:
    with translated():
        options = {"base_url": url} if url else kwargs_from_env()
        return docker.DockerClient(**options, version="auto", timeout=ENGINE_S)


def _info(client: Any) -> dict[str, Any]:
    with translated():
        found: dict[str, Any] = client.info()
        return found


async def engine_version(exam: Exam, note: StepNote) -> None:
    """The engine is new enough."""
    version, api = exam.engine.get("ServerVersion", "?"), exam.client.api.api_version
    if tuple(int(part) for part in str(api).split(".")) < LEAST_API:
        raise ComputeError(
            Code.HOST_UNFIT,
            f"the engine is {version} (API {api})",
            hint="install Docker 20.10 or newer",
        )
    note.passed(f"{version} (API {api})")


async def limits(exam: Exam, note: StepNote) -> None:
    """The engine can hold a lease to its processors, memory and processes."""
    missing = [name for key, name in LIMITS.items() if exam.engine.get(key) is False]
    if set(missing) - {"swap"}:
        raise ComputeError(
            Code.PROBE_LIMITS,
            f"the engine cannot limit {', '.join(missing)}",
            hint="boot with the missing cgroup controllers enabled",
        )
    if missing:
        note.warn_as(
            Code.PROBE_LIMITS,
            "swap cannot be limited: a lease may swap as much as the host does",
            "boot with swapaccount=1, or without swap",
        )
        return
    note.passed(f"cgroup v{exam.engine.get('CgroupVersion', '1')} limits everything")


async def disk_limits(exam: Exam, note: StepNote) -> None:
    """A lease can be held to its disk size."""
    driver = exam.engine.get("Driver", "?")
    facts = {str(row[0]): str(row[1]) for row in exam.engine.get("DriverStatus") or ()}
    files = facts.get("Backing Filesystem", "")
    if driver in {"btrfs", "zfs"} or (driver == "overlay2" and files == "xfs"):
        note.passed(f"by the engine's quota ({driver} {files})".rstrip())
        return
    hindrance = loop_hindrance()
    if not hindrance:
        note.passed(f"by a file system of its own for each lease ({driver} has no quota)")
        return
    note.warn_as(
        Code.HOST_UNFIT,
        f"{driver} on {files or 'this file system'} has no quota, and {hindrance}: "
        "sizes are watched, not held",
        "keep the engine's data on xfs with pquota or on btrfs, or run the miner as root",
    )


async def base_image(exam: Exam, note: StepNote) -> None:
    """The image that leases start from is there."""
    if exam.miner is None:
        note.passed("none is needed")
        return
    wanted = BaseImageSettings(exam.state, exam.miner.image.base or None)
    recipe = wanted.recipe()
    found = await asyncio.to_thread(_find_image, exam.client, recipe)
    if found is None:
        raise EngineError(
            Code.IMAGE_MISSING,
            f"no base image of recipe {recipe.tag}",
            hint="the miner makes it at its start; to make it now: "
            "python -m compute.adapters.engine.baseimage",
        )
    note.passed(found.describe())


def _find_image(client: Any, recipe: Recipe) -> BaseImage | None:
    with translated():
        return find_base_image(client, recipe)


async def firewall(exam: Exam, note: StepNote) -> None:
    """Leases can be kept from the host, its networks and metadata."""
    if exam.miner is None:
        note.passed("none is needed")
        return
    leases = exam.miner.leases
    local = str(exam.client.api.base_url).startswith(("http+docker://", "unix://", "http+unix://"))
    _, hindrance = await asyncio.to_thread(
        lambda: choose_firewall(
            leases.firewall,
            local=local,
            internet=leases.internet,
            private_networks=leases.private_networks,
        )
    )
    if hindrance:
        note.warn_as(
            Code.PROBE_ISOLATION,
            f"leases reach the host and its networks: {hindrance}",
            "install iptables, load br_netfilter, and let the miner set rules (CAP_NET_ADMIN)",
        )
        return
    note.passed("packet filter rules can be set")


async def gpu(_exam: Exam, note: StepNote) -> None:
    """The driver shows the GPUs that are in the machine."""
    report = await asyncio.to_thread(LocalHardware().report)
    present = _nvidia_cards()
    if report.gpus:
        models = sorted({each.model for each in report.gpus})
        note.passed(f"{len(report.gpus)} × {', '.join(models)}, driver {report.driver}")
        return
    if present:
        raise ComputeError(
            Code.HOST_UNFIT,
            f"{present} NVIDIA cards are in the machine, but {report.gpu_note}",
            hint="install the NVIDIA driver, and reboot if it was just updated",
        )
    note.passed("no GPU: leases have processors and memory only")


async def gpu_runtime(exam: Exam, note: StepNote) -> None:
    """The engine can give GPUs to containers."""
    if not await asyncio.to_thread(_nvidia_here):
        note.passed("no GPU, none needed")
        return
    runtimes = exam.engine.get("Runtimes") or {}
    hooked = shutil.which("nvidia-container-runtime-hook") is not None
    if "nvidia" in runtimes or hooked:
        note.passed("the NVIDIA container toolkit is there")
        return
    raise ComputeError(
        Code.HOST_UNFIT,
        "the engine has no NVIDIA runtime",
        hint="install nvidia-container-toolkit, run nvidia-ctk runtime configure, and restart "
        "the engine",
    )


def _nvidia_here() -> bool:
    return bool(_nvidia_cards()) or NVIDIA_DEVICES.exists()


def _nvidia_cards() -> int:
    """Display adapters of NVIDIA's on the PCI bus, driver or not."""
    count = 0
    for device in PCI.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        count += vendor == NVIDIA and kind.startswith(DISPLAY)
    return count
