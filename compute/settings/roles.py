"""Settings of the two neurons."""

from typing import Annotated, Literal

from pydantic import Field

from compute.settings.common import AxonSettings, GateSettings, NeuronSettings, Settings
from compute.settings.dashboard import DashboardSettings
from compute.settings.leases import LeaseSettings
from compute.settings.validation import ValidationSettings


class ImageSettings(Settings):
    """The image that leases start from."""

    base: str = Field(
        "",
        description="reference to build the base image on; empty: PyTorch where GPUs are, else "
        "slim Debian",
    )
    registry: bool = Field(
        True,  # noqa: FBT003
        description="whether an image registry may be asked; otherwise the machine's own mirror is",
    )


class MinerSettings(NeuronSettings):
    """Leases out this machine's hardware as SSH containers and proves it to validators."""

    axon: AxonSettings = AxonSettings()
    gate: GateSettings = GateSettings()
    image: ImageSettings = ImageSettings()
    leases: LeaseSettings = LeaseSettings()
    dashboard: DashboardSettings = DashboardSettings()


class ValidatorSettings(NeuronSettings):
    """Challenges miners, scores what it measured, and sets weights."""

    role: Literal["validator", "submitter"] = Field(
        "validator", description="validator, or submitter to set another's published weights"
    )
    master: str = Field(
        "", description="submitter: URL of the weights API of the validator whose vectors to set"
    )
    master_hotkey: str = Field(
        "",
        description="submitter: hotkey that must have signed the vectors; empty accepts any "
        "validator of the subnet with a permit",
    )
    private_addresses: bool = Field(
        False,  # noqa: FBT003
        description="call miners that announce loopback or private addresses (your own network)",
    )
    api_host: str = Field(
        "127.0.0.1", description="address that the weights and allocation API listens on"
    )
    api_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="port of the weights and allocation API; 0 serves none"
    )
    renting: bool = Field(
        False,  # noqa: FBT003
        description="whether tenants with a token rent through this validator's API",
    )
    validation: ValidationSettings = ValidationSettings()
    dashboard: DashboardSettings = DashboardSettings()
