"""The words in which people say what they wish to lease: for the command and the SDK alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What somebody wishes to lease. `compute.renter.wishes.wish` understands it.

    Attributes:
        ttl: how long at most: `90s`, `20m`, `2h`, `7d`.
        gpu: part of the GPU's product name; empty accepts any.
        count: GPUs; 0 means one when anything is said about GPUs, else none.
        gpu_memory: least memory of each GPU: `40g`.
        cpus: logical processors.
        memory: memory: `512m`, `8g`.
        disk: disk; `0` takes the miner's default.
        shm: shared memory.
        image: image reference with digest; empty for the miner's default.
        dockerfile: instructions on top of the default image.
        ports: container ports to publish beside SSH.
        environment: variables of the login shell; not for secrets.
        idle_stop: end the lease after so long without use; `0` never.
    """

    ttl: str = "1h"
    gpu: str = ""
    count: int = 0
    gpu_memory: str = "0"
    cpus: int = 1
    memory: str = "1g"
    disk: str = "0"
    shm: str = "64m"
    image: str = ""
    dockerfile: str = ""
    ports: Iterable[int] = ()
    environment: Mapping[str, str] | None = None
    idle_stop: str = "0"
