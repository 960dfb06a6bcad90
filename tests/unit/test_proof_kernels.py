"""The fused CUDA kernels, compiled for this CPU: the same source, a thread at a time."""

import contextlib
import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compute.proof import chain, known_answer, prf
from compute.proof.engine_torch import TorchEngine, load_torch
from compute.proof.torch_steps import SOURCE, FusedSteps, PlainSteps, Steps

TORCH = load_torch()
COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(TORCH is None, reason="torch is not installed")

SHIM = """
#include <cstddef>
struct uint4 { unsigned x, y, z, w; };
struct Index { unsigned x, y, z; };
static Index blockIdx, threadIdx, blockDim;
#define __device__
#define __global__
#define EACH_THREAD(grid, block, call) \\
    for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++) \\
    for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) \\
    for (threadIdx.x = 0, blockDim.x = block[0]; threadIdx.x < block[0]; threadIdx.x++) call;
"""
LAUNCHERS = """
typedef const unsigned *Size;
extern "C" void launch_mgx_words(Size g, Size b, u32* o, int f, int c, int k0, int k1, int s) {
    EACH_THREAD(g, b, mgx_words(o, f, c, k0, k1, s))
}
extern "C" void launch_mgx_reach(
    Size g, Size b, const uint4* h, const u32* d, uint4* o, int j, int r, int n) {
    EACH_THREAD(g, b, mgx_reach(h, d, o, j, r, n))
}
extern "C" void launch_mgx_top(
    Size g, Size b, const uint4* p, const uint4* m, const u32* v, u32* o, int w) {
    EACH_THREAD(g, b, mgx_top(p, m, v, o, w))
}
"""


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """`FusedSteps` whose compiler makes host code of the kernels."""
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    folder: Path = tmp_path_factory.mktemp("kernels")
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(SHIM + SOURCE + LAUNCHERS)
    subprocess.run(
        [COMPILER, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True
    )
    kernels = ctypes.CDLL(str(library))

    def compiled(_source: str, name: str) -> Callable[..., None]:
        return lambda grid, block, arguments: getattr(kernels, f"launch_{name}")(
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            *(ctypes.c_void_p(a.data_ptr()) if hasattr(a, "data_ptr") else a for a in arguments),
        )

    cuda = SimpleNamespace(_compile_kernel=compiled, device=lambda _: contextlib.nullcontext())
    names = {name: getattr(TORCH, name) for name in ("empty", "int8", "int32")}
    return FusedSteps(SimpleNamespace(cuda=cuda, **names), "cpu")


@pytest.fixture(params=["plain", "fused"])
def steps(request: pytest.FixtureRequest) -> Steps:
    """Both implementations of the steps, on this CPU."""
    if request.param == "plain":
        return PlainSteps(TORCH, "cpu")
    found: Steps = request.getfixturevalue("fused")
    return found


@pytest.mark.parametrize(("first", "count"), [(0, 1), (5, 1000), (0xFFFFFF00, 513)])
def test_words_are_the_streams(steps: Steps, first: int, count: int) -> None:
    """Words made by either implementation are the stream's, also where positions wrap."""
    key = prf.derive(b"seed", "words", count)
    expected = prf.words(key, first, count)
    found = steps.words(key, first, count).numpy().view(np.uint32)
    assert np.array_equal(found, expected)
    odd = steps.words(key, first, count, odd=True).numpy().view(np.uint32)
    assert np.array_equal(odd, expected | 1)


def test_reaching_and_topping_are_the_chains(steps: Steps) -> None:
    """Rows reached for and top bytes taken are those of the NumPy arithmetic."""
    n, j, noise = 96, 3, np.random.default_rng(3)
    history = noise.integers(-128, 128, (4 * n, n), np.int8)
    folds = noise.integers(-(2**31), 2**31, (n, 8), np.int32)
    s, t = chain.reach(
        folds.view(np.uint32), np.full(n, j, np.uint32), np.arange(n, dtype=np.uint32), n
    )
    expected = history[(j - 1) * n : j * n] ^ history[s.astype(np.int64) * n + t]
    rows = slice(16, 80)
    found = steps.reached(TORCH.from_numpy(history), TORCH.from_numpy(folds), j, rows)
    assert np.array_equal(found.numpy(), expected[rows])

    products = noise.integers(-(2**31), 2**31, (n, 64), np.int32)
    mu, nu = (noise.integers(-(2**31), 2**31, size, np.int32) for size in (64, n))
    topped = chain.top_bytes(products, mu.view(np.uint32), nu.view(np.uint32))
    tensors = [TORCH.from_numpy(part.copy()) for part in (products, mu, nu)]
    assert np.array_equal(steps.top(*tensors).numpy(), topped)


def test_a_whole_run_on_fused_steps_gives_the_known_answer(fused: Steps) -> None:
    """The engine's use of the fused kernels, end to end, gives the known roots."""
    engine: Any = TorchEngine(TORCH, "cpu", "torch-cpu-i8")
    engine._steps = fused
    assert known_answer.run_matches(engine)
