"""The host's clocks on Linux."""

import time
from functools import cache
from pathlib import Path

from compute.domain.timeline import Instant

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """First eight hex digits of the kernel's boot id."""
    return _BOOT_ID.read_text().strip()[:8]


class SystemClock:
    """Wall clock and `CLOCK_BOOTTIME`, which goes on while the machine sleeps."""

    def now(self) -> Instant:
        """This moment on both clocks."""
        return Instant(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id())
