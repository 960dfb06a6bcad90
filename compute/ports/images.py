"""What the roles ask of a record of images. Implemented over SQL in `compute.storage.images`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that this miner brought to its engine, and may therefore remove.

    Attributes:
        key: what it was made from: a reference with digest, or the SHA-256 of a build.
        image: engine id.
        size_mib: what it takes beside the images below it.
        used_at: Unix seconds of the last lease.
    """

    key: str
    image: str
    size_mib: int
    used_at: float


class ImageBook(Protocol):
    """The images that a miner brought. Safe to call from any thread."""

    def find(self, key: str) -> KeptImage | None:
        """The image made from something; None when there is none."""
        ...

    def keep(self, kept: KeptImage) -> None:
        """Write it down, or when it was used last."""
        ...

    def drop(self, key: str) -> None:
        """Forget it; missing is no error."""
        ...

    def all(self) -> tuple[KeptImage, ...]:
        """All of them, least recently used first."""
        ...
