"""Settings of whoever rents or probes: the `compute` command and `neurons/miner_checker.py`."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from compute.settings.common import Names, NeuronSettings


def default_config() -> Path:
    """`$XDG_CONFIG_HOME/compute/config.yaml`, or the same under `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "compute" / "config.yaml"


class RenterSettings(NeuronSettings):
    """Rents and operates on leases."""

    private_addresses: bool = Field(
        False,  # noqa: FBT003
        description="call miners that announce loopback or private addresses (your own network)",
    )


class CheckerSettings(RenterSettings):
    """Probes miners: leases, logs in, checks, proves, releases, and sees that it is gone."""

    miners: Names = Field((), description="UIDs or hotkeys to probe; none probes all of them")
    every: Annotated[float, Field(ge=0)] = Field(
        0.0, description="seconds between rounds; 0 probes once"
    )
    json_file: str = Field(
        "",
        description="write the reports here as JSON; - (or --json) prints them instead of a table",
    )
    duration_s: Annotated[int, Field(ge=10, le=3600)] = Field(
        120, description="length of a probe lease in seconds"
    )
    ssh_timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(
        10.0, description="seconds for each step of logging in"
    )
    metrics_host: str = Field("127.0.0.1", description="address that metrics are served on")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="port that metrics are served on; 0 serves none"
    )
    metrics_file: str = Field(
        "", description="write metrics here after each round, for a textfile collector"
    )
    proof: bool = Field(True, description="run the proof of hardware inside the lease")  # noqa: FBT003
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(4, description="miners probed at once")
