"""From the words in which people write a wish to the wish."""

from compute.domain.requirement import Requirement
from compute.errors import UsageError
from compute.renter import parsing
from compute.renter.client import Wish
from compute.renter.words import Words


def wish(words: Words) -> Wish:
    """Understand what was said.

    Raises:
        UsageError: for a duration or a size that is none, or a requirement out of bounds.
    """
    least = parsing.mebibytes(words.gpu_memory)
    fields = {
        "gpus": words.count or int(bool(words.gpu or least)),
        "gpu_model": words.gpu,
        "gpu_memory_mib": least,
        "cpus": words.cpus,
        "memory_mib": parsing.mebibytes(words.memory),
        "disk_mib": parsing.mebibytes(words.disk),
        "shm_mib": parsing.mebibytes(words.shm),
    }
    try:
        wanted = Requirement.model_validate(fields)
    except ValueError as error:
        raise UsageError(f"no miner can grant this: {_first(error)}") from None
    return Wish(
        duration_s=parsing.seconds(words.ttl),
        requirement=wanted,
        image=words.image,
        dockerfile=words.dockerfile,
        ports=tuple(words.ports),
        environment=dict(words.environment or {}),
        idle_stop_s=parsing.seconds(words.idle_stop),
    )


def _first(error: ValueError) -> str:
    """The field and the reason in a pydantic error."""
    lines = str(error).splitlines()
    return ": ".join(line.strip().split(" [")[0] for line in lines[1:3]) or str(error)
