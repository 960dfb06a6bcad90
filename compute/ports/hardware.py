"""What the roles ask of the machine they run on: its clocks, its parts, its GPUs' health."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from compute.domain.hardware import HardwareReport
from compute.domain.timeline import Instant


class HostClock(Protocol):
    """The host's two clocks; tests use one that they turn by hand."""

    def now(self) -> Instant:
        """This moment on both clocks."""
        ...


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """One GPU's state at one moment.

    Attributes:
        processes: how many processes use it.
        temperature_c: of the chip; None where the driver does not say.
        ecc_errors: uncorrected ones since the driver was loaded.
        xid: last Xid error that the driver reported; 0 none.
        xid_at: when it did, Unix seconds.
    """

    processes: int = 0
    temperature_c: int | None = None
    ecc_errors: int = 0
    xid: int = 0
    xid_at: float = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """What a container does.

    Attributes:
        cpu_s: processor time that it has used so far, in seconds.
        sessions: SSH connections into it.
    """

    cpu_s: float
    sessions: int


class Hardware(Protocol):
    """The machine under a miner."""

    def report(self) -> HardwareReport:
        """What the machine is made of; says why when it has no GPU."""
        ...

    def gpu_health(self) -> Mapping[str, GpuHealth]:
        """Health of each GPU by UUID; empty where there is none."""
        ...
