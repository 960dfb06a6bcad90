"""The ways in which torch multiplies int8 matrices exactly, fastest hopes first.

torch itself is passed in: this module must be importable where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compute.proof.exact import CHUNK

Tensor = Any
"""A torch.Tensor."""
Multiply = Callable[[Tensor, Tensor], Tensor]
"""Multiplies int8 [rows, inner] by the transpose of int8 [columns, inner] into int32."""

_LEAST_ROWS = 32
"""cuBLAS takes integer products of more than 16 rows only."""


def integer(torch: Any) -> Multiply:
    """INT8 tensor cores, or the CPU's integer dot products, through `_int_mm`."""

    def multiply(left: Tensor, right_t: Tensor) -> Tensor:
        rows = left.shape[0]
        if rows < _LEAST_ROWS:
            padded = left.new_zeros((_LEAST_ROWS, left.shape[1]))
            padded[:rows] = left
            return torch._int_mm(padded, right_t.t())[:rows]  # noqa: SLF001  (no public name)
        return torch._int_mm(left, right_t.t())  # noqa: SLF001

    return multiply


def floating(torch: Any, narrow: Any, *, tf32: bool = False) -> Multiply:
    """Floating-point products of a type that holds int8 values, accumulated in float32.

    Args:
        torch: the module.
        narrow: torch.float16, bfloat16 or float32.
        tf32: let float32 factors use the TF32 tensor cores, which hold int8 values exactly.
    """
    wide = {} if narrow == torch.float32 else {"out_dtype": torch.float32}

    def multiply(left: Tensor, right_t: Tensor) -> Tensor:
        if narrow == torch.float32 and left.is_cuda:
            torch.backends.cuda.matmul.allow_tf32 = tf32
        total = None
        for start in range(0, left.shape[1], CHUNK):
            stop = start + CHUNK
            factor_t = right_t[:, start:stop].to(narrow)
            part = torch.mm(left[:, start:stop].to(narrow), factor_t.t(), **wide).to(torch.int32)
            total = part if total is None else total.add_(part)
        return total

    return multiply


def candidates(torch: Any, *, cuda: bool) -> dict[str, Multiply]:
    """Return every path worth trying on a device, by name; some may not work there."""
    if not cuda:
        return {
            "torch-cpu-i8": integer(torch),
            "torch-cpu-f32": floating(torch, torch.float32),
        }
    return {
        "cuda-i8": integer(torch),
        "cuda-f16": floating(torch, torch.float16),
        "cuda-bf16": floating(torch, torch.bfloat16),
        "cuda-tf32": floating(torch, torch.float32, tf32=True),
        "cuda-f32": floating(torch, torch.float32),
    }
