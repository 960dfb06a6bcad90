"""What somebody asks for, and what a miner has to give."""

from typing import Annotated

from pydantic import Field

from compute.domain.hardware import Name, Value

MEMORY_LIMIT_MIB = 2**26  # 64 TiB: far above any host, far below an overflow
Mebibytes = Annotated[int, Field(ge=0, le=MEMORY_LIMIT_MIB)]


class Requirement(Value):
    """Hardware asked for by, or granted to, one lease.

    Attributes:
        gpus: number of whole GPUs.
        gpu_model: part of the product name, case-insensitive; empty accepts any.
        gpu_memory_mib: least memory of each GPU in MiB.
        cpus: logical processors, pinned as a cpuset.
        memory_mib: memory limit in MiB; swap is not given.
        disk_mib: writable space in MiB; 0 asks for the miner's default.
        shm_mib: size of /dev/shm in MiB; counts towards memory when used.
    """

    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    gpu_model: Name = ""
    gpu_memory_mib: Mebibytes = 0
    cpus: Annotated[int, Field(ge=1, le=1024)] = 1
    memory_mib: Annotated[int, Field(ge=64, le=MEMORY_LIMIT_MIB)] = 1024
    disk_mib: Mebibytes = 0
    shm_mib: Mebibytes = 64


class Capacity(Value):
    """An amount of hardware, total or free.

    Attributes:
        gpus: number of GPUs.
        cpus: logical processors.
        memory_mib: MiB of memory.
        disk_mib: MiB of disk that leases may be promised.
        leases: how many more (or at most) leases at once.
    """

    gpus: Annotated[int, Field(ge=0, le=65536)] = 0
    cpus: Annotated[int, Field(ge=0, le=2**20)] = 0
    memory_mib: Annotated[int, Field(ge=0, le=2**40)] = 0
    disk_mib: Annotated[int, Field(ge=0, le=2**40)] = 0
    leases: Annotated[int, Field(ge=0, le=65536)] = 0
