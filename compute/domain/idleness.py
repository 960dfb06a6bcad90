"""Whether a lease is used: pure bookkeeping over samples of what it does."""

from dataclasses import dataclass, replace
from enum import Enum

BUSY_SHARE = 0.02  # of one processor, between two samples: sshd and cron alone stay far below
WARN_AT = 0.8  # of the time after which an idle lease ends


@dataclass(frozen=True, slots=True)
class Sample:
    """What a lease does at one moment.

    Attributes:
        at: seconds of any clock that only moves forward.
        cpu_s: processor time that it has used so far, in seconds.
        sessions: SSH connections.
        gpu_busy: whether a process uses one of its GPUs.
    """

    at: float
    cpu_s: float
    sessions: int = 0
    gpu_busy: bool = False


class Verdict(Enum):
    """What follows."""

    NOTHING = "nothing"
    WARN = "warn"
    END = "end"


@dataclass(frozen=True, slots=True)
class Idleness:
    """Since when nothing happened in a lease; `warned` once its owner could read of it."""

    last: Sample
    since: float
    warned: bool = False

    @classmethod
    def begin(cls, sample: Sample) -> "Idleness":
        """The first sample of a lease counts as use."""
        return cls(sample, sample.at)

    def seen(self, sample: Sample) -> "Idleness":
        """The same, one sample later."""
        if _used(self.last, sample):
            return Idleness.begin(sample)
        return replace(self, last=sample)

    def judge(self, stop_s: float) -> tuple[Verdict, "Idleness"]:
        """What follows for a lease that ends after so many idle seconds."""
        idle_s = self.last.at - self.since
        if idle_s >= stop_s:
            return Verdict.END, self
        if idle_s >= WARN_AT * stop_s and not self.warned:
            return Verdict.WARN, replace(self, warned=True)
        return Verdict.NOTHING, self


def _used(before: Sample, after: Sample) -> bool:
    span = max(after.at - before.at, 0.001)
    return (
        after.sessions > 0
        or after.gpu_busy
        or (after.cpu_s - before.cpu_s) / span > BUSY_SHARE
        or after.cpu_s < before.cpu_s  # it was restarted
    )
