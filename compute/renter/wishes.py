"""What somebody wishes to lease, from the words in which people write it."""

from collections.abc import Iterable, Mapping

from compute.domain.requirement import Requirement
from compute.errors import UsageError
from compute.renter import parsing
from compute.renter.client import Wish


def wish(
    *,
    ttl: str = "1h",
    gpu: str = "",
    count: int = 0,
    gpu_memory: str = "0",
    cpus: int = 1,
    memory: str = "1g",
    disk: str = "0",
    shm: str = "64m",
    image: str = "",
    dockerfile: str = "",
    ports: Iterable[int] = (),
    environment: Mapping[str, str] | None = None,
    idle_stop: str = "0",
) -> Wish:
    """Make a wish.

    Args:
        ttl: how long: `90s`, `20m`, `2h`, `7d`.
        gpu: part of the GPU's product name; empty accepts any.
        count: GPUs; 0 means one when anything is said about GPUs, else none.
        gpu_memory: least memory of each GPU.
        cpus: logical processors.
        memory: memory: `512m`, `8g`.
        disk: disk; `0` takes the miner's default.
        shm: shared memory.
        image: image reference with digest; empty for the miner's default.
        dockerfile: instructions on top of the default image.
        ports: container ports to publish beside SSH.
        environment: variables of the login shell; not for secrets.
        idle_stop: end the lease after so long without use; `0` never.

    Raises:
        UsageError: for a duration or a size that is none, or a requirement out of bounds.
    """
    least = parsing.mebibytes(gpu_memory)
    fields = {
        "gpus": count or int(bool(gpu or least)),
        "gpu_model": gpu,
        "gpu_memory_mib": least,
        "cpus": cpus,
        "memory_mib": parsing.mebibytes(memory),
        "disk_mib": parsing.mebibytes(disk),
        "shm_mib": parsing.mebibytes(shm),
    }
    try:
        wanted = Requirement.model_validate(fields)
    except ValueError as error:
        raise UsageError(f"no miner can grant this: {_first(error)}") from None
    return Wish(
        duration_s=parsing.seconds(ttl),
        requirement=wanted,
        image=image,
        dockerfile=dockerfile,
        ports=tuple(ports),
        environment=dict(environment or {}),
        idle_stop_s=parsing.seconds(idle_stop),
    )


def _first(error: ValueError) -> str:
    """The field and the reason in a pydantic error."""
    lines = str(error).splitlines()
    return ": ".join(line.strip().split(" [")[0] for line in lines[1:3]) or str(error)
