"""`compute calibrate`: measure a trusted GPU, for a row of the class table."""

import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.output import counted
from compute.domain.hardware import Value
from compute.errors import Code, ProofError, UsageError

if TYPE_CHECKING:
    from compute.proof.engine import Engine
    from compute.proof.sizes import Sizes

GPU_N, CPU_N, CPU_BLOCKS = 16384, 1024, 8
SWEEP_WIDTH = 1024  # of every class in the table


class Calibrated(Value):
    """What was measured of one device.

    Attributes:
        path: the kernels that were the fastest.
        tops: median throughput, 10^12 operations a second.
        spread: slowest chain over the fastest, less one.
        row: the `[[class]]` for the table, in TOML.
    """

    device: str
    path: str
    memory_mib: int
    n: int
    blocks: int
    tops: float
    spread: float
    chain_s: tuple[float, ...]
    sweep_s: tuple[float, ...]
    row: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"calibrate": Calibrated}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("calibrate")(calibrate)


def calibrate(
    ctx: typer.Context,
    device: Annotated[str, typer.Option(help="auto, cuda, cpu or numpy.")] = "auto",
    gpu: Annotated[int, typer.Option(min=0, help="Index of the GPU.")] = 0,
    n: Annotated[
        int, typer.Option(min=0, max=32768, help="Width of the matrices; 0: 16384, 1024 on a CPU.")
    ] = 0,
    blocks: Annotated[
        int, typer.Option(min=0, help="Blocks; 0 fills a GPU's memory, 8 on a CPU.")
    ] = 0,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Measured runs.")] = 5,
    name: Annotated[str, typer.Option(help="Name of the class; else from the device.")] = "",
) -> None:
    """Measure a trusted GPU and print its row for the class table."""
    from compute.proof.calibrate import calibrate as measure
    from compute.proof.engine import EngineUnfit
    from compute.proof.engines import DEVICES, opener

    if device not in DEVICES:
        raise UsageError(f"there is no device '{device}'", hint=f"one of {', '.join(DEVICES)}")
    here = context(ctx).output
    try:
        engine = opener(device)(gpu)
        here.progress(
            f"{engine.device} by {engine.path}: {counted(runs, 'run')} and one to warm up"
        )
        found = measure(
            engine, _sizes(engine, n, blocks), secrets.token_bytes, time.monotonic, runs
        )
    except EngineUnfit as error:
        raise ProofError(Code.PROVER_FAILED, str(error)) from error
    except ValueError as error:
        raise UsageError(f"these sizes cannot be run: {error}") from None
    row = found.row(name or found.device, datetime.now(UTC).strftime("%Y-%m-%d"))
    here.data(
        Calibrated(
            device=found.device,
            path=found.path,
            memory_mib=found.memory_bytes >> 20,
            n=found.sizes.n,
            blocks=found.sizes.blocks,
            tops=found.tops,
            spread=found.spread,
            chain_s=found.chain_s,
            sweep_s=found.sweep_s,
            row=row,
        ),
        text=f"# {found.tops:.4g} TOPS by {found.path}, {found.spread:.1%} between runs\n{row}",
    )


def _sizes(engine: "Engine", n: int, blocks: int) -> "Sizes":
    """The sizes to run: the production's on a GPU, a few seconds' worth on a CPU."""
    from compute.proof.engine_torch import load_torch
    from compute.proof.sizes import Sizes, blocks_for

    torch = load_torch()
    gpu = torch is not None and torch.cuda.is_available() and "cpu" not in engine.device.lower()
    width = n or (GPU_N if gpu else CPU_N)
    fill = blocks_for(engine.memory_bytes, width) if gpu else CPU_BLOCKS
    return Sizes(width, blocks or fill, SWEEP_WIDTH)
