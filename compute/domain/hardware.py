"""What a miner's host is made of: a claim, until a proof or a probe has measured it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class Value(BaseModel):
    """Base of frozen values that also travel on the wire: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(Value):
    """One GPU as the driver reports it.

    Attributes:
        index: position on its host, from 0.
        uuid: the driver's stable identifier (`GPU-…`).
        model: the driver's product name, for example `NVIDIA H100 80GB HBM3`.
        memory_mib: total device memory in MiB.
    """

    index: Annotated[int, Field(ge=0, le=1023)]
    uuid: Name
    model: Name
    memory_mib: Count


class Disk(Value):
    """One file system that leases or images use, in MiB."""

    mount: Name
    total_mib: Count
    free_mib: Count


class HardwareReport(Value):
    """One host's hardware and software; a machine without GPUs has an empty `gpus`.

    Attributes:
        cpu_model: as the kernel names it.
        cpus: logical processors.
        memory_mib: physical memory in MiB.
        gpus: in index order.
        gpu_note: why `gpus` is empty, or an empty string.
        driver: GPU driver version, or an empty string.
        software: name to version of what matters (engine, kernel, python, product).
    """

    cpu_model: Name
    cpus: Annotated[int, Field(ge=1, le=65536)]
    memory_mib: Count
    disks: Annotated[tuple[Disk, ...], Field(max_length=64)] = ()
    gpus: Annotated[tuple[Gpu, ...], Field(max_length=1024)] = ()
    gpu_note: Annotated[str, Field(max_length=500)] = ""
    driver: Name = ""
    software: Annotated[dict[Name, Name], Field(max_length=64)] = {}
