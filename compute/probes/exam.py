"""What the checks of a host share: settings, and what earlier checks have found out."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from compute.domain.metagraph import Neuron
from compute.settings.common import NeuronSettings
from compute.settings.roles import MinerSettings


class Part(StrEnum):
    """Whose host is looked at."""

    MINER = "miner"
    VALIDATOR = "validator"
    RENTER = "renter"


@dataclass
class Exam:
    """One look at a host.

    Attributes:
        part: what runs here, or shall.
        settings: of that neuron.
        miner: the same settings where it is a miner, else None.
        running: whether it runs now: it holds its own ports then.
        engine: what the engine tells of itself (`docker info`), once it has answered.
        client: of the engine, once it has answered.
        wallet: once it is open.
        neuron: the hotkey's own place on the subnet, once it was read.
    """

    part: Part
    settings: NeuronSettings
    running: bool = False
    engine: dict[str, Any] = field(default_factory=dict)
    client: Any = None
    wallet: Any = None
    neuron: Neuron | None = None

    @property
    def miner(self) -> MinerSettings | None:
        """The settings of a miner."""
        return self.settings if isinstance(self.settings, MinerSettings) else None

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.settings.state.expanduser()

    def close(self) -> None:
        """Let go of the engine."""
        if self.client is not None:
            self.client.close()
