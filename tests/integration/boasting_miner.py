"""A miner that claims one GPU more than its machine has; otherwise `neurons/miner.py`."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "neurons"))

import miner

from compute.adapters.hardware.machine import LocalHardware
from compute.cli.neuron import run_neuron
from compute.domain.hardware import Gpu, HardwareReport
from compute.settings.roles import MinerSettings


class Boasting(LocalHardware):
    """This machine, and a GPU that it does not have."""

    def report(self) -> HardwareReport:
        """What it claims to be made of."""
        true = super().report()
        extra = Gpu(
            index=len(true.gpus),
            uuid="GPU-imagined",
            model="NVIDIA H100 80GB HBM3",
            memory_mib=81559,
        )
        return true.model_copy(update={"gpus": (*true.gpus, extra), "gpu_note": ""})


if __name__ == "__main__":
    miner.open_service = partial(miner.open_service, hardware=Boasting())
    run_neuron("miner", MinerSettings, miner.main)
