"""What a device does for a prover; the engines are its implementations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from compute.proof.wire import Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compute.proof.sizes import Sizes


class EngineUnfit(Exception):  # noqa: N818  (it is an answer to SETUP, not a fault)
    """A device that cannot take the sizes.

    Args:
        status: what READY says about it.
        detail: for the prover's own log.
    """

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Engine(Protocol):
    """One GPU, or a CPU that stands in for one.

    Attributes:
        path: which kernels it uses, at most 16 ASCII characters.
        device: the device's name.
        memory_bytes: the device's memory.
    """

    path: str
    device: str
    memory_bytes: int

    def allocate(self, sizes: Sizes) -> None:
        """Take the memory and pass the known-answer test.

        Raises:
            EngineUnfit: too little memory, or no path that computes right.
        """
        ...

    def folds(self, slot: bytes, sub: bytes) -> Iterator[NDArray[np.uint32]]:
        """Run the chain; yield D_0 … D_{M-1} in order, each [n, 8]."""
        ...

    def sweep(self, kappa: bytes) -> Iterator[NDArray[np.uint32]]:
        """Sweep the memory; yield Y of each block in order, each [n, 2]."""
        ...

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return rows of the history by their position j·n + r: [count, n]."""
        ...

    def products(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        """Return rows · B, exact, [count, n]."""
        ...
