"""The options in which `up` and `quote` take a wish."""

from typing import Annotated

import typer

Ttl = Annotated[str, typer.Option(help="How long: 90s, 20m, 2h, 7d.")]
GpuModel = Annotated[str, typer.Option("--gpu", help="Part of the GPU's name, for example H100.")]
Count = Annotated[int, typer.Option(min=0, help="GPUs; 1 when --gpu is given.")]
GpuMemory = Annotated[str, typer.Option(help="Least memory of each GPU: 40g.")]
Cpus = Annotated[int, typer.Option(min=1, help="Processors.")]
Memory = Annotated[str, typer.Option(help="Memory: 512m, 8g.")]
Disk = Annotated[str, typer.Option(help="Disk: 10g; 0 takes the miner's default.")]
Shm = Annotated[str, typer.Option(help="Shared memory: 64m, 8g.")]
Miner = Annotated[str, typer.Option(help="UID or hotkey; else the quickest that fits.")]
