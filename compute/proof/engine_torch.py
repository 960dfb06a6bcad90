"""The chain on torch: CUDA tensor cores, or a CPU's integer instructions.

Beside the history it takes one int8 copy of B, the rounds' multipliers and offsets, and row panels
of a fixed size, so that all of it stays under 1.5 GB at n = 16384.
"""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from compute.proof import chain, known_answer, prf, torch_paths
from compute.proof.engine import EngineUnfit
from compute.proof.engine_numpy import available_memory, host_bytes, panel_bytes
from compute.proof.sizes import FOLD_WORDS, SWEEP_WORDS, Sizes
from compute.proof.torch_steps import FusedSteps, PlainSteps
from compute.proof.wire import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compute.proof.torch_paths import Multiply
    from compute.proof.torch_steps import Steps, Tensor

_PANEL_BYTES = 256 << 20
"""Memory of one int32 panel; three or four live at a time."""
_QUEUE = 2
"""Blocks whose folds may be under way to the host while the device runs ahead."""
_TRIAL_CPU = Sizes(1024, 3, 4)
_TRIAL_CUDA = Sizes(8192, 9, 4)
"""Runs by which paths are timed: long enough for the device, 0.6 GB of it."""


def load_torch() -> Any:
    """Import torch, or return None where it is missing or broken."""
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None


class TorchEngine:
    """One torch device with one path; see `Engine`.

    Args:
        torch: the module.
        device: `cuda:0`, `cpu` and the like.
        path: name of the path, from `torch_paths.candidates`.
        fused: use the fused kernels; CUDA only.
    """

    def __init__(self, torch: Any, device: str, path: str, *, fused: bool = False) -> None:
        self.path = path + ("-fused" if fused else "")
        self._torch = torch
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._multiply: Multiply = torch_paths.candidates(torch, cuda=self._cuda)[path]
        self._steps: Steps = (FusedSteps if fused else PlainSteps)(torch, self._device)
        self.device, self.memory_bytes = self._describe()
        self._sizes = known_answer.KNOWN.sizes
        self._history: Tensor = None
        self._factor_t: Tensor = None

    def allocate(self, sizes: Sizes) -> None:
        """Take the history; see `Engine.allocate`."""
        self._sizes, self._history, self._factor_t = sizes, None, None
        self._refuse_beyond_memory(sizes)
        try:
            self._history = self._torch.zeros(
                (sizes.rows, sizes.n), dtype=self._torch.int8, device=self._device
            )
        except RuntimeError as error:
            raise EngineUnfit(Status.NO_MEMORY, "the device refused the allocation") from error

    def folds(self, slot: bytes, sub: bytes) -> Iterator[NDArray[np.uint32]]:
        """Run the chain; see `Engine.folds`. Folds travel while the device runs ahead."""
        sizes, n = self._sizes, self._sizes.n
        slots, subs = chain.SlotKeys.of(slot, n), chain.SubKeys.of(sub, n)
        self._factor_t = self._matrix(slots.product, n, n)
        fold_t = self._matrix(slots.fold, FOLD_WORDS, n)
        mu = self._words(slots.multiplier, sizes.rows, odd=True).view(sizes.blocks, n)
        nu = self._words(subs.offset, sizes.rows).view(sizes.blocks, n)
        self._history[:n] = self._matrix(subs.start, n, n)
        blocks = self._blocks_of_folds(fold_t, mu, nu)
        yield from self._arriving(blocks)

    def sweep(self, kappa: bytes) -> Iterator[NDArray[np.uint32]]:
        """Sweep the memory; see `Engine.sweep`."""
        n, width = self._sizes.n, self._sizes.sweep_width
        keys = chain.SweepKeys.of(kappa, n)
        factor_t = self._matrix(keys.product, width, n)
        mu = self._words(keys.multiplier, width, odd=True)
        fold_t = self._matrix(keys.fold, FOLD_WORDS, width)
        nothing = self._torch.zeros(n, dtype=self._torch.int32, device=self._device)
        yield from self._arriving(
            self._multiply(self._steps.top(self._multiply(block, factor_t), mu, nothing), fold_t)[
                :, :SWEEP_WORDS
            ]
            for block in self._history.view(self._sizes.blocks, n, n)
        )

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int8]:
        """Read rows of the history; see `Engine.rows`."""
        index = self._torch.from_numpy(places).to(self._device)
        found: NDArray[np.int8] = _array(self._history.index_select(0, index))
        return found

    def products(self, rows: NDArray[np.int8]) -> NDArray[np.int32]:
        """Multiply by B; see `Engine.products`."""
        return self.multiply(rows, self._factor_t)

    def multiply(self, left: NDArray[np.int8], right_t: Any) -> NDArray[np.int32]:
        """Multiply host rows by the transpose of a matrix on the host or the device."""
        torch = self._torch
        factor_t = torch.as_tensor(right_t).to(self._device)
        found: NDArray[np.int32] = _array(
            self._multiply(torch.from_numpy(left).to(self._device), factor_t)
        )
        return found

    def speed(self) -> float:
        """Return operations a second of a middling run, element-wise steps included."""
        sizes = _TRIAL_CUDA if self._cuda else _TRIAL_CPU
        self.allocate(sizes)
        times = []
        for _ in range(2):
            began = time.perf_counter()
            deque(self.folds(known_answer.SLOT, known_answer.SUB), maxlen=0)
            times.append(time.perf_counter() - began)
        self._history = self._factor_t = None
        return sizes.operations / min(times)

    def _blocks_of_folds(self, fold_t: Tensor, mu: Tensor, nu: Tensor) -> Iterator[Tensor]:
        """Run the rounds; yield each block's folds as they are computed."""
        n = self._sizes.n
        folds = self._multiply(self._history[:n], fold_t)
        yield folds
        for j in range(1, self._sizes.blocks):
            self._round(j, folds, mu[j], nu[j])
            folds = self._multiply(self._history[j * n : (j + 1) * n], fold_t)
            yield folds

    def _arriving(self, computed: Iterator[Tensor]) -> Iterator[NDArray[np.uint32]]:
        """Bring words to the host in order, a few blocks behind the device."""
        under_way: deque[Any] = deque()
        for words in computed:
            under_way.append(self._send(words.contiguous()))
            if len(under_way) > (_QUEUE if self._cuda else 0):
                yield self._arrived(under_way.popleft())
        while under_way:
            yield self._arrived(under_way.popleft())

    def _round(self, j: int, folds: Tensor, mu: Tensor, nu: Tensor) -> None:
        n = self._sizes.n
        step = max(1, _PANEL_BYTES // (4 * n))
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            mixed = self._steps.reached(self._history, folds, j, rows)
            products = self._multiply(mixed, self._factor_t)
            block = self._history[j * n + rows.start : j * n + rows.stop]
            block.copy_(self._steps.top(products, mu, nu[rows]))

    def _words(self, key: prf.Key, count: int, *, odd: bool = False) -> Tensor:
        if self._cuda:
            return self._steps.words(key, 0, count, odd=odd)
        words = prf.words(key, 0, count) | np.uint32(odd)
        return self._torch.from_numpy(words.view(np.int32))

    def _matrix(self, key: prf.Key, rows: int, columns: int) -> Tensor:
        words = self._words(key, rows * columns // 4)
        return words.view(self._torch.int8).view(rows, columns)

    def _send(self, words: Tensor) -> Any:
        """Start copying words to the host; on a CPU they are there already."""
        if not self._cuda:
            return words, None
        host = self._torch.empty(words.shape, dtype=words.dtype, pin_memory=True)
        host.copy_(words, non_blocking=True)
        event = self._torch.cuda.Event()
        event.record()
        return host, event

    @staticmethod
    def _arrived(sent: Any) -> NDArray[np.uint32]:
        words, event = sent
        if event is not None:
            event.synchronize()
        folds: NDArray[np.uint32] = _array(words).view(np.uint32)
        return folds

    def _describe(self) -> tuple[str, int]:
        if self._cuda:
            properties = self._torch.cuda.get_device_properties(self._device)
            self._torch.cuda.set_device(self._device)
            return str(properties.name), int(properties.total_memory)
        return "CPU", available_memory()

    def _refuse_beyond_memory(self, sizes: Sizes) -> None:
        on_host, on_device = host_bytes(sizes), sizes.history_bytes
        if self._cuda:
            self._torch.cuda.empty_cache()
            if on_device > self._torch.cuda.mem_get_info(self._device)[0]:
                raise EngineUnfit(Status.NO_MEMORY, "the device has not the memory")
        else:
            on_host += on_device + 2 * sizes.n**2 + 8 * sizes.rows
            on_host += 4 * panel_bytes(sizes, _PANEL_BYTES)
        if on_host > available_memory():
            raise EngineUnfit(Status.NO_MEMORY, "the host has not the memory")


def best_engine(torch: Any, device: str) -> TorchEngine:
    """Try every path on a device, drop those that compute wrongly, and return the fastest.

    Raises:
        EngineUnfit: none computes right.
    """
    right = [engine for engine in _engines(torch, device) if _computes_right(engine)]
    if not right:
        raise EngineUnfit(Status.KNOWN_ANSWER, "no path gives the known answer")
    return max(right, key=TorchEngine.speed)


def _engines(torch: Any, device: str) -> Iterator[TorchEngine]:
    cuda = device.startswith("cuda")
    for path in torch_paths.candidates(torch, cuda=cuda):
        for fused in (True, False) if cuda else (False,):
            try:
                yield TorchEngine(torch, device, path, fused=fused)
            except (RuntimeError, AttributeError, OSError, ImportError):
                continue


def _computes_right(engine: TorchEngine) -> bool:
    try:
        return known_answer.product_matches(engine.multiply) and known_answer.run_matches(engine)
    except (RuntimeError, TypeError, NotImplementedError):
        return False


def _array(tensor: Tensor) -> Any:
    """Return a tensor as an array on the host."""
    return tensor.contiguous().cpu().numpy()
