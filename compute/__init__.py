"""A Bittensor compute subnet: proven miners, sealed SSH leases, weights for what was measured.

`compute.rent` leases a container from Python; see docs/sdk.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compute.renter.sdk import AsyncBox, Box, CommandResult, Rental, rent

__all__ = ["AsyncBox", "Box", "CommandResult", "Rental", "rent"]


def __getattr__(name: str) -> Any:
    """What renters use, imported when it is first asked for: the rest needs none of it."""
    if name in __all__:
        from compute.renter import sdk  # noqa: PLC0415 - a neuron must not load the renter's side

        return getattr(sdk, name)
    raise AttributeError(f"module 'compute' has no attribute '{name}'")
