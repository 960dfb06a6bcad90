"""The chain's element-wise steps on torch tensors: plain operations, or fused CUDA kernels.

torch has no unsigned 32-bit arithmetic to speak of, so words are int32 with the same bits:
products and sums wrap alike, and a logical shift is an arithmetic one with the sign bits cleared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from compute.proof import prf

if TYPE_CHECKING:
    from compute.proof.prf import Key

Tensor = Any
"""A torch.Tensor."""

_PANEL_WORDS = 1 << 22
"""Words made at a time by plain operations: 16 MiB, a few of which live at once."""
_THREADS = 256

SOURCE = r"""
typedef unsigned int u32;

__device__ static u32 mix_a(u32 x) {
    x ^= x >> 16; x *= 0x85EBCA6Bu; x ^= x >> 13; x *= 0xC2B2AE35u; return x ^ (x >> 16);
}

__device__ static u32 mix_b(u32 x) {
    x ^= x >> 16; x *= 0x7FEB352Du; x ^= x >> 15; x *= 0x846CA68Bu; return x ^ (x >> 16);
}

extern "C" __global__ void mgx_words(u32* out, int first, int count, int k0, int k1, int set) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (u32)count) return;
    u32 a = mix_a(((u32)first + i) * 0x9E3779B1u + (u32)k0);
    out[i] = mix_b(a + (u32)k1) | (u32)set;
}

/* One thread block a row: X[r] = V_{j-1}[r] ^ V_s[t], with (s, t) from the row's fold. */
extern "C" __global__ void mgx_reach(
    const uint4* history, const u32* folds, uint4* out, int j, int first_row, int n
) {
    u32 row = (u32)first_row + blockIdx.x;
    const u32* fold = folds + (size_t)row * 8;
    u32 spread = (u32)j * 0x9E3779B1u + row * 0x7FEB352Du;
    u32 a = mix_b(mix_a(fold[0] + spread) ^ fold[1]);
    u32 b = mix_a((a ^ fold[2]) + row);
    size_t s = (a & 0x7FFFFFFFu) % (u32)j;
    size_t t = (b & 0x7FFFFFFFu) % (u32)n;
    size_t width = (size_t)n / 16;
    const uint4* left = history + (((size_t)j - 1) * n + row) * width;
    const uint4* right = history + (s * n + t) * width;
    uint4* to = out + (size_t)blockIdx.x * width;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        uint4 x = left[i], y = right[i];
        x.x ^= y.x; x.y ^= y.y; x.z ^= y.z; x.w ^= y.w;
        to[i] = x;
    }
}

/* Four columns a thread: the top byte of product * mu + nu. */
extern "C" __global__ void mgx_top(
    const uint4* products, const uint4* mu, const u32* nu, u32* out, int width
) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (u32)width) return;
    size_t at = (size_t)blockIdx.y * width + i;
    uint4 c = products[at], m = mu[i];
    u32 v = nu[blockIdx.y];
    u32 b0 = (c.x * m.x + v) >> 24, b1 = (c.y * m.y + v) >> 24;
    u32 b2 = (c.z * m.z + v) >> 24, b3 = (c.w * m.w + v) >> 24;
    out[at] = b0 | (b1 << 8) | (b2 << 16) | (b3 << 24);
}
"""
"""CUDA C of the fused steps; little-endian packing is the device's own order."""


class Steps(Protocol):
    """The element-wise steps of a round."""

    def words(self, key: Key, first: int, count: int, *, odd: bool = False) -> Tensor:
        """Return words of a stream, int32 [count]; with `odd`, their lowest bit is set."""
        ...

    def reached(self, history: Tensor, folds: Tensor, j: int, rows: slice) -> Tensor:
        """Return X of rows of block j, int8 [rows, n].

        Args:
            history: [M·n, n].
            folds: D_{j-1}, int32 [n, 8].
            j: the round.
            rows: which rows of the block.
        """
        ...

    def top(self, products: Tensor, mu: Tensor, nu: Tensor) -> Tensor:
        """Return the top byte of products · mu + nu, int8; mu a column, nu a row."""
        ...


def signed(word: int) -> int:
    """Return the int32 of the same bits."""
    return (word & prf.MASK) - ((word & 0x80000000) << 1)


class PlainSteps:
    """The steps in plain torch operations, on any device; see `Steps`."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device

    def words(self, key: Key, first: int, count: int, *, odd: bool = False) -> Tensor:
        """See `Steps.words`."""
        torch = self._torch
        out = torch.empty(count, dtype=torch.int32, device=self._device)
        for start in range(0, count, _PANEL_WORDS):
            part = out[start : start + _PANEL_WORDS]
            torch.arange(part.numel(), dtype=torch.int32, device=self._device, out=part)
            part.mul_(signed(prf.GOLDEN)).add_(signed((first + start) * prf.GOLDEN + key.k0))
            _mix(part, prf.MIX_A)
            _mix(part.add_(signed(key.k1)), prf.MIX_B)
        return out.bitwise_or_(1) if odd else out

    def reached(self, history: Tensor, folds: Tensor, j: int, rows: slice) -> Tensor:
        """See `Steps.reached`."""
        torch, n = self._torch, history.shape[1]
        row = torch.arange(rows.start, rows.stop, dtype=torch.int32, device=self._device)
        fold = folds[rows]
        a = fold[:, 0] + row * signed(prf.LOWBIAS) + signed(j * prf.GOLDEN)
        a = _mix(_mix(a, prf.MIX_A) ^ fold[:, 1], prf.MIX_B)
        b = _mix((a ^ fold[:, 2]) + row, prf.MIX_A)
        place = ((a & 0x7FFFFFFF) % j).long() * n + ((b & 0x7FFFFFFF) % n).long()
        previous = history[(j - 1) * n + rows.start : (j - 1) * n + rows.stop]
        return history.index_select(0, place).bitwise_xor_(previous)

    def top(self, products: Tensor, mu: Tensor, nu: Tensor) -> Tensor:
        """See `Steps.top`."""
        mixed = products.mul_(mu).add_(nu[:, None]).bitwise_right_shift_(24)
        return mixed.to(self._torch.int8)


class FusedSteps:
    """The steps as three CUDA kernels compiled on the spot; see `Steps`.

    Raises:
        RuntimeError, AttributeError, OSError, ImportError: this torch cannot compile kernels here.
    """

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch = torch
        self._device = device
        compiler = torch.cuda._compile_kernel  # noqa: SLF001  (no public name yet)
        with torch.cuda.device(device):
            self._words, self._reach, self._top = (
                compiler(SOURCE, name) for name in ("mgx_words", "mgx_reach", "mgx_top")
            )

    def words(self, key: Key, first: int, count: int, *, odd: bool = False) -> Tensor:
        """See `Steps.words`."""
        out = self._torch.empty(count, dtype=self._torch.int32, device=self._device)
        grid = (-(-count // _THREADS), 1, 1)
        arguments = [out, signed(first), count, signed(key.k0), signed(key.k1), int(odd)]
        self._words(grid, (_THREADS, 1, 1), arguments)
        return out

    def reached(self, history: Tensor, folds: Tensor, j: int, rows: slice) -> Tensor:
        """See `Steps.reached`."""
        count, n = rows.stop - rows.start, history.shape[1]
        out = self._torch.empty((count, n), dtype=self._torch.int8, device=self._device)
        self._reach(
            (count, 1, 1), (_THREADS, 1, 1), [history, folds.contiguous(), out, j, rows.start, n]
        )
        return out

    def top(self, products: Tensor, mu: Tensor, nu: Tensor) -> Tensor:
        """See `Steps.top`."""
        rows, columns = products.shape
        out = self._torch.empty((rows, columns), dtype=self._torch.int8, device=self._device)
        width = columns // 4
        grid = (-(-width // _THREADS), rows, 1)
        arguments = [products.contiguous(), mu.contiguous(), nu.contiguous(), out, width]
        self._top(grid, (_THREADS, 1, 1), arguments)
        return out


def _mix(x: Tensor, rounds: Any) -> Tensor:
    """Apply xor-shift and multiply rounds to int32 words in place."""
    for shift, multiplier in rounds:
        x.bitwise_xor_((x >> shift).bitwise_and_((1 << (32 - shift)) - 1))
        if multiplier is not None:
            x.mul_(signed(multiplier))
    return x
