"""Time as leases know it: deadlines that outlive a process, a reboot and a jump of the clock.

A deadline is written down twice: on the wall clock, which is what people are told, and on the
host's uptime clock, which no one can set. While the host stays up the uptime decides, so that a
clock that jumps an hour ends nothing early and nothing late; after a reboot the wall clock is the
only one left, and decides.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_TOKEN = re.compile(r"^(\d{1,12})\.([0-9a-f]{8})\.(\d{1,12})$")


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks of a host.

    Attributes:
        wall: Unix seconds.
        uptime: seconds since boot, sleep included; never set by anybody.
        boot: first eight hex digits of the kernel's boot id.
    """

    wall: float
    uptime: float
    boot: str

    def after(self, seconds: float) -> "Instant":
        """The moment so many seconds later in the same boot."""
        return Instant(self.wall + seconds, self.uptime + seconds, self.boot)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When something is due, on both clocks."""

    wall: float
    uptime: float
    boot: str

    @classmethod
    def at(cls, now: Instant, seconds: float) -> "Deadline":
        """The deadline so many seconds from now."""
        return cls(now.wall + seconds, now.uptime + seconds, now.boot)

    def remaining_s(self, now: Instant) -> float:
        """Seconds that are left; negative when overdue."""
        if now.boot == self.boot:
            return self.uptime - now.uptime
        return self.wall - now.wall

    def due(self, now: Instant) -> bool:
        """Whether it has come."""
        return self.remaining_s(now) <= 0

    def anchored(self, now: Instant, longest_s: float) -> "Deadline":
        """The same on this boot's uptime clock, so that from now on no jump moves it.

        Args:
            now: on this boot's clocks. Right after a boot the wall clock may not be set yet, and
                stand years back.
            longest_s: no more than so many seconds are left, whatever the wall clock says.
        """
        if now.boot == self.boot:
            return self
        return Deadline(self.wall, now.uptime + min(longest_s, self.wall - now.wall), now.boot)

    def extended(self, seconds: float) -> "Deadline":
        """The same, so many seconds later."""
        return Deadline(self.wall + seconds, self.uptime + seconds, self.boot)

    def token(self) -> str:
        """Short text for container names and labels: whole seconds, rounded up."""
        return f"{_ceil(self.wall)}.{self.boot}.{_ceil(self.uptime)}"

    @classmethod
    def parse(cls, token: str) -> "Deadline | None":
        """Read what `token` wrote; None for anything else."""
        match = _TOKEN.match(token)
        if match is None:
            return None
        return cls(float(match[1]), float(match[3]), match[2])


def _ceil(seconds: float) -> int:
    return -int(-seconds // 1)


class Event(StrEnum):
    """What a lease's timeline can say."""

    REQUESTED = "requested"
    PLACED = "placed"
    PROVISIONING = "provisioning"
    CREATED = "created"
    STARTED = "started"
    READY = "ready"
    EXTENDED = "extended"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    RESTARTED = "restarted"
    KEYS_EXCHANGED = "keys exchanged"
    RECONCILED = "reconciled"
    WARNED = "warned"
    GPU_FAULT = "gpu fault"
    ENDING = "ending"
    END_DELAYED = "end delayed"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a lease's timeline; `at` in Unix seconds."""

    at: float
    event: Event
    detail: str = ""
