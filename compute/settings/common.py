"""Settings that several roles share."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _unless_empty(value: Any) -> Any:
    """An empty text, as an environment file has it, is no path at all."""
    return None if value == "" else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def default_state() -> Path:
    """Folder of durable state: `$XDG_STATE_HOME/compute`, or the same under the home folder."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "compute"


class WalletSettings(Settings):
    """Which keys a neuron signs with."""

    name: str = Field("default", description="coldkey name of the wallet")
    hotkey: str = Field("default", description="hotkey name within the wallet")
    path: Path = Field(Path("~/.bittensor/wallets"), description="folder of wallets")


class SubtensorSettings(Settings):
    """Which chain a neuron is on."""

    network: str = Field(
        "finney",
        description="finney, test, a ws:// URL, or dev:/path/chain.sqlite for a chain of your own",
    )


class LoggingSettings(Settings):
    """How a neuron logs."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is written: debug, info, warning or error"
    )
    format: Literal["auto", "text", "json"] = Field(
        "auto", description="text, json, or auto: text on a terminal and JSON elsewhere"
    )


class NeuronSettings(Settings):
    """Settings of every neuron."""

    netuid: Annotated[int, Field(ge=0, le=65535)] = Field(27, description="subnet to work on")
    wallet: WalletSettings = WalletSettings()
    subtensor: SubtensorSettings = SubtensorSettings()
    logging: LoggingSettings = LoggingSettings()
    state: Path = Field(
        default_factory=default_state, description="folder of durable state, private to this neuron"
    )


class GateSettings(Settings):
    """Who may call an axon."""

    allow: Names = Field((), description="hotkeys that are always admitted")
    deny: Names = Field((), description="hotkeys that are never admitted")
    least_stake: Annotated[float, Field(ge=0)] = Field(
        1000.0, description="least stake (alpha) of a caller that is not on the allow list"
    )
    need_permit: bool = Field(True, description="callers need a validator permit")  # noqa: FBT003
    max_view_age_s: Annotated[float, Field(gt=0)] = Field(
        600.0, description="age in seconds at which the view of the chain counts as stale"
    )


class AxonSettings(Settings):
    """Where a neuron is reached."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 - a server
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8091, description="port to listen on")
    external_ip: str = Field(
        "", description="address announced on chain; empty finds the one of the default route"
    )
    external_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="port announced on chain; 0 announces the one listened on"
    )
    certificate: Annotated[Path | None, BeforeValidator(_unless_empty)] = Field(
        None,
        description="PEM file with key and certificate for TLS, made if there is none; its"
        " fingerprint is published on chain; empty: plain HTTP",
    )
