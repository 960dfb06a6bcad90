"""Which engine a prover uses for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from compute.proof import known_answer
from compute.proof.engine import EngineUnfit
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.engine_torch import best_engine, load_torch
from compute.proof.wire import Status

if TYPE_CHECKING:
    from compute.proof.engine import Engine

DEVICES = ("auto", "cuda", "cpu", "numpy")
"""What a prover may be told to use; `auto` takes CUDA where there is any, else the CPU."""


def opener(device: str) -> Callable[[int], Engine]:
    """Return a function that makes the engine of a GPU.

    Args:
        device: one of `DEVICES`.
    """

    def make(gpu: int) -> Engine:
        torch = load_torch() if device != "numpy" else None
        if torch is not None and device in ("auto", "cuda") and torch.cuda.is_available():
            if gpu >= torch.cuda.device_count():
                raise EngineUnfit(Status.NO_DEVICE, f"there is no GPU {gpu}")
            return best_engine(torch, f"cuda:{gpu}")
        if device == "cuda":
            raise EngineUnfit(Status.NO_DEVICE, "there is no CUDA device")
        return _on_cpu(torch)

    return make


def _on_cpu(torch: object) -> Engine:
    if torch is not None:
        return best_engine(torch, "cpu")
    engine = NumpyEngine()
    if not known_answer.run_matches(engine):
        raise EngineUnfit(Status.KNOWN_ANSWER, "NumPy does not give the known answer")
    return engine
