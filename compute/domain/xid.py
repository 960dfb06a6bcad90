"""What an Xid error of the NVIDIA driver says about whose fault it was.

Source: NVIDIA, "Xid Errors" (GPU Deployment and Management documentation), its table of causes: an
error that only an application can bring about is the renter's; one of memory, bus or chip is the
hardware's; everything else stays undecided.
"""

from enum import StrEnum


class Blame(StrEnum):
    """Whose fault a GPU error was."""

    RENTER = "renter"
    HARDWARE = "hardware"
    UNDECIDED = "undecided"


# 13 graphics engine exception, 31 memory page fault, 43 stopped processing (reset of one process),
# 45 preemptive cleanup after an application ended, 68/69 invalid video or graphics class use.
_RENTER = frozenset({13, 31, 43, 45, 68, 69})
# 48 double-bit ECC, 62 internal micro-controller halt, 63/64 row remapping, 74 NVLink, 79 fallen
# off the bus, 92 high single-bit ECC rate, 94/95 contained and uncontained ECC, 110 security fault,
# 119/120 GSP failure, 140 unrecovered ECC, 143 GPU initialisation.
_HARDWARE = frozenset({48, 62, 63, 64, 74, 79, 92, 94, 95, 110, 119, 120, 140, 143})


def blame(xid: int) -> Blame:
    """Whose fault an error was."""
    if xid in _RENTER:
        return Blame.RENTER
    return Blame.HARDWARE if xid in _HARDWARE else Blame.UNDECIDED
