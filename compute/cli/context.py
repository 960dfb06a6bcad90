"""What every verb is given: settings, where to speak, and the operation's trace id."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from compute.cli.output import Output

if TYPE_CHECKING:
    from pydantic import BaseModel

    from compute.renter.book import LeaseBook
    from compute.settings.renter import RenterSettings
    from compute.settings.roles import ValidatorSettings

SettingsT = TypeVar("SettingsT", bound="BaseModel")


@dataclass(frozen=True)
class Context:
    """What every verb gets. Settings and the lease book are read when they are first asked for.

    Attributes:
        flags: settings from the command line, as dotted names.
        trace: id of this operation, 32 hex digits: on errors, in requests, in the miner's log.
    """

    flags: Mapping[str, str] = field(default_factory=dict)
    output: Output = field(default_factory=Output)
    trace: str = field(default_factory=lambda: secrets.token_hex(16))

    @cached_property
    def settings(self) -> "RenterSettings":
        """The renter's settings.

        Raises:
            UsageError: when a setting is unknown or out of bounds.
        """
        from compute.settings.renter import RenterSettings, default_config

        return self._load(RenterSettings, (), default_config())

    @cached_property
    def validator(self) -> "ValidatorSettings":
        """The settings of the validator on this machine, from its file if --config names it.

        Raises:
            UsageError: when a setting is unknown or out of bounds.
        """
        from compute.settings.renter import default_config
        from compute.settings.roles import ValidatorSettings

        return self._load(ValidatorSettings, (), default_config())

    def role(self, model: "type[SettingsT]", more: Iterable[str]) -> "SettingsT":
        """The settings of a neuron on this machine: flags, environment, the file of --config.

        Args:
            model: the role's settings.
            more: further ones, as NAME=VALUE.

        Raises:
            UsageError: when a setting is unknown or out of bounds.
        """
        return self._load(model, more, None)

    def _load(
        self, model: "type[SettingsT]", more: Iterable[str], fallback: Path | None
    ) -> "SettingsT":
        from compute.renter import parsing
        from compute.settings.loading import load

        given = {**self.flags, **parsing.assignments(more)}
        argv = [part for name, value in given.items() for part in (f"--{name}", value)]
        return load(model, argv, prog="compute", fallback=fallback)

    @cached_property
    def book(self) -> "LeaseBook":
        """The renter's lease book."""
        from compute.renter.book import LeaseBook

        return LeaseBook(self.settings.state)


def context(ctx: typer.Context) -> Context:
    """The context that the command's root has put there."""
    found = ctx.find_object(Context)
    if found is None:  # pragma: no cover - the root callback always runs first
        raise RuntimeError("no context")
    return found
