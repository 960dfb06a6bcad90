"""What this machine is made of, by psutil and, where NVIDIA's library is, NVML."""

import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pynvml

from compute.adapters.hardware.xid import XidWatch
from compute.domain.hardware import Disk, Gpu, HardwareReport
from compute.ports.hardware import GpuHealth
from compute.version import __version__

MIB = 1024 * 1024


class LocalHardware:
    """The machine that this process runs on.

    Args:
        disks: folders whose file systems leases and images use.
        software: further names and versions to report, such as the engine's.
    """

    def __init__(
        self, disks: tuple[Path, ...] = (Path("/"),), software: Mapping[str, str] | None = None
    ) -> None:
        self._disks = disks
        self._software = dict(software or {})
        self._xids = XidWatch()
        self._nvml = threading.Lock()  # init and shutdown are counted, but not thread-safe

    def report(self) -> HardwareReport:
        """What the machine is made of; says why when it has no GPU."""
        gpus, driver, note = self._gpus()
        return HardwareReport(
            cpu_model=_cpu_model(),
            cpus=psutil.cpu_count() or 1,
            memory_mib=psutil.virtual_memory().total // MIB,
            disks=_disks(self._disks),
            gpus=gpus,
            gpu_note=note,
            driver=driver,
            software={
                "kernel": platform.release(),
                "python": platform.python_version(),
                "compute": __version__,
                **self._software,
            },
        )

    def gpu_health(self) -> Mapping[str, GpuHealth]:
        """Health of each GPU by UUID; empty where there is none."""
        try:
            with self._library():
                self._xids.start()
                errors = self._xids.last
                return {
                    uuid: replace(_health(handle), xid=xid, xid_at=at)
                    for handle in _handles()
                    for uuid in (_uuid(handle),)
                    for xid, at in (errors.get(uuid, (0, 0.0)),)
                }
        except pynvml.NVMLError:
            return {}

    def _gpus(self) -> tuple[tuple[Gpu, ...], str, str]:
        try:
            with self._library():
                driver = _text(pynvml.nvmlSystemGetDriverVersion())
                gpus = tuple(_gpu(index, handle) for index, handle in enumerate(_handles()))
        except pynvml.NVMLError as error:
            return (), "", f"no NVIDIA driver answers: {error}"
        return gpus, driver, "" if gpus else "the NVIDIA driver knows no GPU"

    @contextmanager
    def _library(self) -> Iterator[None]:
        with self._nvml:
            pynvml.nvmlInit()
            try:
                yield
            finally:
                pynvml.nvmlShutdown()


def _handles() -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        yield pynvml.nvmlDeviceGetHandleByIndex(index)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _uuid(handle: Any) -> str:
    return _text(pynvml.nvmlDeviceGetUUID(handle))


def _gpu(index: int, handle: Any) -> Gpu:
    return Gpu(
        index=index,
        uuid=_uuid(handle),
        model=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // MIB,
    )


def _health(handle: Any) -> GpuHealth:
    return GpuHealth(
        processes=len(_ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
        temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        ecc_errors=_ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        )
        or 0,
    )


def _ask(question: Any, *arguments: Any) -> Any:
    """What the driver answers; None where this GPU does not support the question."""
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()[:200]
    except OSError:
        pass
    return (platform.processor() or platform.machine())[:200]


def _disks(folders: tuple[Path, ...]) -> tuple[Disk, ...]:
    found: dict[int, Disk] = {}
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        usage = psutil.disk_usage(str(existing))
        device = existing.stat().st_dev
        found.setdefault(
            device,
            Disk(
                mount=str(existing)[:200],
                total_mib=usage.total // MIB,
                free_mib=usage.free // MIB,
            ),
        )
    return tuple(found.values())
