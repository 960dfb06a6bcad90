"""What a base image is, and what is asked of one."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from compute.adapters.engine.baseimage.recipe import Recipe, default_base, gpu_present

REPOSITORY = "compute-base"
LABEL_MANAGED = "io.compute.managed"
LABEL_RECIPE = "compute.recipe"
LABEL_ORIGIN = "compute.origin"
LABEL_BASE = "compute.base"


class Origin(Enum):
    """How a base image came to be."""

    REGISTRY = "built on a base from a registry"
    HELD = "built on a base that the engine held already"
    BOOTSTRAPPED = "bootstrapped from this machine's mirror"


@dataclass(frozen=True, slots=True)
class BaseImageSettings:
    """How to make the base image.

    Attributes:
        state: state folder; the image's record and kept archive go below `baseimage/`.
        base: reference to start from; None: PyTorch where GPUs are, else slim Debian.
        gpu: whether GPUs are present; None: look.
        use_registry: whether a registry may be asked at all.
    """

    state: Path
    base: str | None = None
    gpu: bool | None = None
    use_registry: bool = True

    @property
    def folder(self) -> Path:
        """Where the record and the archive lie."""
        return self.state / "baseimage"

    def recipe(self) -> Recipe:
        """The recipe that these settings ask for."""
        gpu = gpu_present() if self.gpu is None else self.gpu
        return Recipe(self.base or default_base(gpu=gpu))


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image that leases start from.

    Attributes:
        id: `sha256:…` of the image's configuration; what containers are started from.
        digest_ref: a reference by digest where the image has one, else its id.
        origin: how it came to be.
        base: what it was made from: an image reference with its digest, or the release's code
            name.
        recipe: the recipe's SHA-256.
        built: whether this call made it.
    """

    id: str
    digest_ref: str
    origin: Origin
    base: str
    recipe: str
    built: bool

    def describe(self) -> str:
        """One line for a person."""
        verb = "made now" if self.built else "there already"
        return f"{self.id[:19]}, {verb}: {self.origin.value} ({self.base})"
