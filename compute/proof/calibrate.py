"""Measures a trusted GPU and gives the row that the class table needs for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from compute.proof.engine import Engine
from compute.proof.holder import Holder
from compute.proof.sizes import Sizes
from compute.proof.slot import Entropy


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of one device.

    Attributes:
        device: the device's name.
        path: the kernels that were the fastest.
        memory_bytes: total device memory.
        sizes: the sizes of the runs.
        chain_s: each run's chain, in order.
        sweep_s: each run's faster sweep, in order.
    """

    device: str
    path: str
    memory_bytes: int
    sizes: Sizes
    chain_s: tuple[float, ...]
    sweep_s: tuple[float, ...]

    @property
    def tops(self) -> float:
        """Median throughput in 10^12 operations a second."""
        return self.sizes.operations / median(self.chain_s) / 1e12

    @property
    def spread(self) -> float:
        """Slowest chain over the fastest, less one."""
        return max(self.chain_s) / min(self.chain_s) - 1

    def row(self, name: str, date: str) -> str:
        """Return the `[[class]]` for the table, in TOML.

        Args:
            name: the class's name.
            date: day of the measurement, YYYY-MM-DD.
        """
        provenance = f'source = "measured", device = "{self.device}", date = "{date}"'
        return "\n".join(
            [
                "[[class]]",
                f'name = "{name}"',
                f'models = ["{self.device}"]',
                f"n = {self.sizes.n}",
                f"blocks = {self.sizes.blocks}",
                f"memory_mib = {self.memory_bytes >> 20}",
                f"reference_tops = {{ value = {self.tops:.4g}, {provenance} }}",
                f"sweep_reference_s = {{ value = {median(self.sweep_s):.4g}, {provenance} }}",
                "",
            ]
        )


def calibrate(
    engine: Engine,
    sizes: Sizes,
    entropy: Entropy,
    clock: Callable[[], float],
    runs: int = 5,
) -> Calibration:
    """Run the chain and two sweeps `runs` times after one run to warm up, all in this process.

    Args:
        engine: the device, with its fastest path.
        sizes: the class's sizes.
        entropy: source of seeds.
        clock: monotonic seconds.
        runs: measured runs.

    Raises:
        EngineUnfit: the device cannot take the sizes.
    """
    engine.allocate(sizes)
    timed = [_run(Holder(engine, sizes), entropy, clock) for _ in range(runs + 1)][1:]
    return Calibration(
        device=engine.device,
        path=engine.path,
        memory_bytes=engine.memory_bytes,
        sizes=sizes,
        chain_s=_column(timed, 0),
        sweep_s=_column(timed, 1),
    )


def _run(holder: Holder, entropy: Entropy, clock: Callable[[], float]) -> tuple[float, float]:
    began = clock()
    holder.run(entropy(32), entropy(32))
    chained, sweeps = clock(), []
    for _ in range(2):
        start = clock()
        holder.sweep(entropy(32))
        sweeps.append(clock() - start)
    return chained - began, min(sweeps)


def _column(rows: Sequence[tuple[float, float]], index: int) -> tuple[float, ...]:
    return tuple(row[index] for row in rows)
