"""Load on the validator's APIs: a server in a process of its own, keep-alive clients in this one."""

from collections.abc import Iterator

from scripts.bench.proof_rows import Row


def weights_rows(seconds: float) -> Iterator[Row]:
    yield from ()


def allocation_rows(seconds: float) -> Iterator[Row]:
    yield from ()
