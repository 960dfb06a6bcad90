"""What every verb is given: settings, where to speak, and the operation's trace id."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import typer

from compute.cli.output import Output

if TYPE_CHECKING:
    from compute.renter.book import LeaseBook
    from compute.settings.renter import RenterSettings


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
        from compute.settings.loading import load
        from compute.settings.renter import RenterSettings, default_config

        argv = [part for name, value in self.flags.items() for part in (f"--{name}", value)]
        return load(RenterSettings, argv, prog="compute", fallback=default_config())

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
