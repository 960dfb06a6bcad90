"""Honest runs are never rejected. `PROOF_RUNS=1000` sets how many are tried."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.proof.engine import Engine
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.engine_torch import TorchEngine, load_torch
from compute.proof.sizes import Sizes
from compute.proof.transcript import verify_transcript
from compute.proof.wire import Mode
from tests.adversary.proof_arena import Miner, arena_class, challenge

RUNS = int(os.environ.get("PROOF_RUNS", "100"))
TORCH = load_torch()


def _engine(path: str) -> Engine:
    return NumpyEngine() if path == "numpy" else TorchEngine(TORCH, "cpu", path)


@pytest.mark.timeout(1800)
@settings(
    max_examples=RUNS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    n=st.sampled_from([128, 256, 384]),
    blocks=st.integers(2, 9),
    width=st.sampled_from([4, 64, 100, 256]),
    gpus=st.integers(1, 3),
    units=st.sampled_from([1, 2, 3, 8, 32]),
    mode=st.sampled_from(Mode),
    path=st.sampled_from(["numpy", "torch-cpu-i8", "torch-cpu-f32"] if TORCH else ["numpy"]),
    seed=st.integers(0, 2**64),
)
def test_an_honest_run_is_never_rejected(
    n: int, blocks: int, width: int, gpus: int, units: int, mode: Mode, path: str, seed: int
) -> None:
    """Whatever the sizes, places, mode and path, an honest miner passes with full credit."""
    gpu_class = arena_class(Sizes(n, blocks, width))
    result, grade = asyncio.run(
        challenge(
            Miner(engine=lambda _: _engine(path)),  # type: ignore[arg-type,return-value]
            gpu_class=gpu_class,
            gpus=gpus,
            units=units,
            mode=mode,
            seed=seed,
        )
    )
    assert result.passed, result.detail
    assert grade.credit == pytest.approx(1.0)
    if mode is Mode.RECOMPUTE:
        assert verify_transcript(result.transcript).passed
