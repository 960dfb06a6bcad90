"""What this host leases out: its parts less what is kept for itself and for tests."""

from collections.abc import Mapping

from compute.domain.capacity import Pool, Supply
from compute.domain.hardware import HardwareReport
from compute.domain.xid import Blame, blame
from compute.ports.engine import EngineInfo
from compute.ports.hardware import GpuHealth
from compute.settings.leases import LeaseSettings

HOTTEST_C = 95


def measure(
    settings: LeaseSettings, info: EngineInfo, report: HardwareReport, room_mib: int
) -> Supply:
    """Divide the host between rentals, tests and itself.

    The test slot's processors are the last ones; a host that has no more than those shares them
    with its rentals.

    Args:
        settings: what is kept, and for whom.
        info: processors and memory as the engine sees them.
        report: GPUs.
        room_mib: disk space for all leases.
    """
    test = settings.test
    cpus = tuple(range(info.cpus))
    cut = max(0, len(cpus) - test.cpus)
    return Supply(
        gpus=report.gpus,
        rentals=Pool(
            cpus=cpus[:cut] or cpus,
            memory_mib=max(0, info.memory_mib - settings.reserve_memory_mib - test.memory_mib),
            disk_mib=max(0, room_mib - settings.reserve_disk_mib - test.disk_mib),
            leases=settings.most_leases,
        ),
        test=Pool(cpus[cut:] or cpus, test.memory_mib, test.disk_mib, test.leases),
        ports=range(settings.first_port, settings.last_port + 1),
        leases_per_cpu=settings.leases_per_cpu,
    )


def unfit_gpus(health: Mapping[str, GpuHealth], leased: frozenset[str]) -> dict[str, str]:
    """GPUs that must not be given out now, with the reason.

    Args:
        health: of each GPU by UUID.
        leased: UUIDs that a live lease holds: processes there are the tenant's.
    """
    found = {}
    for uuid, state in health.items():
        if uuid in leased:
            continue
        if state.processes:
            found[uuid] = f"{state.processes} processes use it outside any lease"
        elif state.xid and blame(state.xid) is Blame.HARDWARE:
            found[uuid] = f"it reported Xid {state.xid}"
        elif state.ecc_errors:
            found[uuid] = f"{state.ecc_errors} uncorrected memory errors"
        elif state.temperature_c is not None and state.temperature_c >= HOTTEST_C:
            found[uuid] = f"it is {state.temperature_c} °C hot"
    return found
