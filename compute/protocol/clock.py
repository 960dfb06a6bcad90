"""The time, as an argument: wall clock for nonces and deadlines, monotonic clock for ages."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks. The standard `time` module is one."""

    def time_ns(self) -> int:
        """Unix time in nanoseconds; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


SYSTEM: Clock = time
