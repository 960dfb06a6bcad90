"""A host to test leases on: clocks that are turned by hand, hardware that is made up."""

import threading
from collections.abc import Mapping

from compute.domain.hardware import Disk, Gpu, HardwareReport
from compute.domain.timeline import Instant
from compute.ports.hardware import GpuHealth


class ManualClock:
    """Both clocks of a host; nothing moves them but a test."""

    def __init__(self, wall: float = 1_700_000_000.0, uptime: float = 1000.0) -> None:
        self._lock = threading.Lock()
        self._now = Instant(wall, uptime, "b007b007")

    def now(self) -> Instant:
        """This moment on both clocks."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now = self._now.after(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a person or NTP does."""
        with self._lock:
            self._now = Instant(self._now.wall + seconds, self._now.uptime, self._now.boot)

    def reboot(self, seconds: float = 60) -> None:
        """Restart the host; its wall clock goes on meanwhile."""
        with self._lock:
            boot = f"{(int(self._now.boot, 16) + 1) % 2**32:08x}"
            self._now = Instant(self._now.wall + seconds, 5.0, boot)


class FakeHardware:
    """A machine that is made up.

    Args:
        gpus: number of GPUs, `GPU-0` and so on.
        free_disk_mib: free disk.
    """

    def __init__(self, gpus: int = 0, free_disk_mib: int = 200_000) -> None:
        self._gpus = tuple(
            Gpu(index=index, uuid=f"GPU-{index}", model="FAKE H100 80GB", memory_mib=81_559)
            for index in range(gpus)
        )
        self._disk = Disk(mount="/", total_mib=2 * free_disk_mib, free_mib=free_disk_mib)
        self.health: dict[str, GpuHealth] = {}

    def report(self) -> HardwareReport:
        """What it is made of."""
        return HardwareReport(
            cpu_model="fake",
            cpus=8,
            memory_mib=16_384,
            disks=(self._disk,),
            gpus=self._gpus,
            gpu_note="" if self._gpus else "made up without",
        )

    def gpu_health(self) -> Mapping[str, GpuHealth]:
        """Health of each GPU by UUID."""
        return dict(self.health)
