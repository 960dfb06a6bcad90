"""Who gets which hardware: pure placement of a wish on what a host has left.

Rentals get whole GPUs, whole processors, memory, disk and host ports for themselves. Probes and
challenges live in a test slot that is set aside for them: its memory and disk are theirs alone,
its few processors they share, so that a probe neither waits for a rental nor disturbs one. A GPU
cannot be set aside: a test takes a free one, or is told why there is none.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from compute.domain.hardware import Gpu, Value
from compute.domain.requirement import Capacity, Requirement
from compute.errors import Code, LeaseError


class HostPort(Value):
    """A container's port and the host's port that leads to it."""

    container: int
    host: int


class Assignment(Value):
    """The hardware of one lease.

    Attributes:
        gpus: UUIDs.
        cpus: ids of logical processors (a cpuset).
        ports: the first leads to SSH where there is one.
        test_slot: whether it comes out of the test slot.
    """

    gpus: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    memory_mib: int = 0
    disk_mib: int = 0
    shm_mib: int = 0
    ports: tuple[HostPort, ...] = ()
    test_slot: bool = False

    def host_port(self, container: int) -> int:
        """Host port that leads to a container's port; 0 when it is not published."""
        return next((port.host for port in self.ports if port.container == container), 0)


@dataclass(frozen=True, slots=True)
class Pool:
    """An amount that one class of leases draws from.

    Attributes:
        cpus: ids of logical processors.
        leases: how many at once.
    """

    cpus: tuple[int, ...]
    memory_mib: int
    disk_mib: int
    leases: int


@dataclass(frozen=True, slots=True)
class Supply:
    """Everything that one host leases out.

    Attributes:
        rentals: for rentals and every other kind that is not a test.
        test: for probes and challenges.
        ports: host ports that may be published, in the order in which they are tried.
        leases_per_cpu: how many rentals may share one logical processor; 1 keeps cpusets disjoint.
    """

    gpus: tuple[Gpu, ...]
    rentals: Pool
    test: Pool
    ports: Sequence[int]
    leases_per_cpu: int = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be placed.

    Attributes:
        ports: container ports to publish, SSH first.
        gpus: exactly these UUIDs, instead of any that fit the requirement.
        test: draw on the test slot.
    """

    requirement: Requirement
    ports: tuple[int, ...] = ()
    gpus: tuple[str, ...] | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What must not be given out now although no lease holds it.

    Attributes:
        gpus: UUID to the reason, for GPUs that are busy or broken.
        ports: host ports that something else listens on.
    """

    gpus: Mapping[str, str] = field(default_factory=dict)
    ports: frozenset[int] = frozenset()


NO_OBSTACLES = Obstacles()


def place(
    supply: Supply, held: Iterable[Assignment], wish: Wish, obstacles: Obstacles = NO_OBSTACLES
) -> Assignment:
    """Choose hardware for a wish among what the held assignments leave.

    Raises:
        LeaseError: `NO_CAPACITY`, with what is short and by how much.
    """
    taken = tuple(held)
    pool = supply.test if wish.test else supply.rentals
    peers = [one for one in taken if one.test_slot == wish.test]
    need = wish.requirement
    if len(peers) >= pool.leases:
        raise _short("leases", 1, 0)
    _check("memory", "MiB", need.memory_mib, pool.memory_mib - sum(p.memory_mib for p in peers))
    _check("disk", "MiB", need.disk_mib, pool.disk_mib - sum(p.disk_mib for p in peers))
    return Assignment(
        gpus=_gpus(supply, taken, wish, obstacles),
        cpus=_cpus(supply, pool, peers, wish),
        memory_mib=need.memory_mib,
        disk_mib=need.disk_mib,
        shm_mib=need.shm_mib,
        ports=_ports(supply, taken, wish.ports, obstacles.ports),
        test_slot=wish.test,
    )


def total(supply: Supply) -> Capacity:
    """Everything that can be leased, the test slot not counted."""
    pool = supply.rentals
    return Capacity(
        gpus=len(supply.gpus),
        cpus=len(pool.cpus) * supply.leases_per_cpu,
        memory_mib=pool.memory_mib,
        disk_mib=pool.disk_mib,
        leases=pool.leases,
    )


def free(
    supply: Supply, held: Iterable[Assignment], obstacles: Obstacles = NO_OBSTACLES
) -> Capacity:
    """What can be leased now, the test slot not counted; never below zero."""
    taken = tuple(held)
    rentals = [one for one in taken if not one.test_slot]
    pool = supply.rentals
    away = {uuid for one in taken for uuid in one.gpus} | set(obstacles.gpus)
    slots = len(pool.cpus) * supply.leases_per_cpu - sum(len(one.cpus) for one in rentals)
    return Capacity(
        gpus=sum(gpu.uuid not in away for gpu in supply.gpus),
        cpus=max(0, slots),
        memory_mib=max(0, pool.memory_mib - sum(one.memory_mib for one in rentals)),
        disk_mib=max(0, pool.disk_mib - sum(one.disk_mib for one in rentals)),
        leases=max(0, pool.leases - len(rentals)),
    )


def _short(what: str, want: int, have: int, unit: str = "", why: str = "") -> LeaseError:
    amount = f"{want} {unit}".strip()
    detail = f"{what}: {amount} asked for, {max(0, have)} free"
    return LeaseError(Code.NO_CAPACITY, f"{detail} ({why})" if why else detail)


def _check(what: str, unit: str, want: int, have: int) -> None:
    if want > have:
        raise _short(what, want, have, unit)


def _cpus(supply: Supply, pool: Pool, peers: Sequence[Assignment], wish: Wish) -> tuple[int, ...]:
    want = wish.requirement.cpus
    if wish.test:  # shared among the tests
        _check("CPUs of the test slot", "", want, len(pool.cpus))
        return pool.cpus[:want]
    load = Counter(cpu for peer in peers for cpu in peer.cpus)
    open_cpus = sorted(
        (cpu for cpu in pool.cpus if load[cpu] < supply.leases_per_cpu),
        key=lambda cpu: (load[cpu], cpu),
    )
    _check("CPUs", "", want, len(open_cpus))
    return tuple(sorted(open_cpus[:want]))


def _gpus(
    supply: Supply, taken: Sequence[Assignment], wish: Wish, obstacles: Obstacles
) -> tuple[str, ...]:
    leased = {uuid for one in taken for uuid in one.gpus}
    if wish.gpus is not None:
        return _these_gpus(supply, leased, wish.gpus, obstacles)
    need = wish.requirement
    if not need.gpus:
        return ()
    if not supply.gpus:
        raise _short("GPUs", need.gpus, 0, why="this host has none")
    fitting = [gpu for gpu in supply.gpus if _fits(gpu, need)]
    if len(fitting) < need.gpus:
        raise _short("GPUs", need.gpus, len(fitting), why="no other is of this model and memory")
    fit = [gpu for gpu in fitting if gpu.uuid not in leased and gpu.uuid not in obstacles.gpus]
    if len(fit) < need.gpus:
        reasons = {obstacles.gpus[g.uuid] for g in fitting if g.uuid in obstacles.gpus}
        raise _short("GPUs", need.gpus, len(fit), why="; ".join(sorted(reasons)) or "leased")
    return tuple(gpu.uuid for gpu in fit[: need.gpus])


def _these_gpus(
    supply: Supply, leased: set[str], wanted: tuple[str, ...], obstacles: Obstacles
) -> tuple[str, ...]:
    """These GPUs, or why not; `data["gpus"]` of the error names those that cannot be had now."""
    known = {gpu.uuid for gpu in supply.gpus}
    for uuid in wanted:
        if uuid not in known:
            raise LeaseError(Code.NO_CAPACITY, f"this host has no GPU {uuid[:64]}")
    if len(set(wanted)) != len(wanted):
        raise LeaseError(Code.NO_CAPACITY, "a GPU was named twice")
    away = [uuid for uuid in wanted if uuid in leased or uuid in obstacles.gpus]
    if away:
        first = away[0]
        why = (
            f"GPU {first} is leased" if first in leased else f"GPU {first}: {obstacles.gpus[first]}"
        )
        raise LeaseError(Code.NO_CAPACITY, why, data={"gpus": away})
    return wanted


def _fits(gpu: Gpu, need: Requirement) -> bool:
    return (
        need.gpu_model.casefold() in gpu.model.casefold() and gpu.memory_mib >= need.gpu_memory_mib
    )


def _ports(
    supply: Supply,
    taken: Sequence[Assignment],
    wanted: tuple[int, ...],
    blocked: frozenset[int],
) -> tuple[HostPort, ...]:
    used = {port.host for one in taken for port in one.ports} | blocked
    open_ports = [port for port in supply.ports if port not in used]
    _check("ports", "", len(wanted), len(open_ports))
    return tuple(
        HostPort(container=container, host=host)
        for container, host in zip(wanted, open_ports, strict=False)
    )
