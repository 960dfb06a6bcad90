"""Network names: which chain a name stands for, and a client for it.

`finney`, `test`, `local` and any `ws://` or `wss://` URL mean what the SDK makes of them. `dev` is
a development chain in the user's state folder, `dev:/path/file.sqlite` one in a file of your own.
"""

from dataclasses import dataclass
from pathlib import Path

import bittensor as bt
from bittensor.settings import resolve_endpoint

from compute.adapters.chain.devchain.substrate import DevChain
from compute.errors import UsageError
from compute.settings.common import default_state

DEV_FILE = "devchain.sqlite"

# A label that no network has: the SDK keeps a cache of token symbols for each label, and those
# of a development chain must never land under the name of a real one.
_LABEL = "ws://development.invalid"


@dataclass(frozen=True, slots=True)
class DevNetwork:
    """A development chain's file."""

    path: Path


@dataclass(frozen=True, slots=True)
class SdkNetwork:
    """A network of the SDK's own, by name or URL."""

    name: str


def parse_network(name: str) -> DevNetwork | SdkNetwork:
    """Tell which chain a name stands for.

    Raises:
        UsageError: there is no such network.
    """
    kind, colon, rest = name.partition(":")
    if kind == "dev":
        if colon and not rest:
            raise UsageError("dev: needs a file, as in dev:/path/chain.sqlite")
        return DevNetwork(Path(rest).expanduser() if rest else default_state() / DEV_FILE)
    try:
        resolve_endpoint(name)
    except ValueError:
        raise UsageError(
            f"there is no network '{name}'",
            hint="finney, test, local, a ws:// URL, or dev:/path/chain.sqlite",
        ) from None
    return SdkNetwork(name)


def open_client(name: str) -> bt.Client:
    """A client for a network, not connected yet.

    Raises:
        UsageError: there is no such network.
    """
    network = parse_network(name)
    if isinstance(network, DevNetwork):
        return bt.Client(_LABEL, substrate=DevChain(network.path))
    return bt.Client(network.name)


def open_subtensor(name: str) -> bt.Subtensor:
    """The SDK's classic entry point for a network, for scripts.

    Raises:
        UsageError: there is no such network.
    """
    network = parse_network(name)
    if isinstance(network, DevNetwork):
        return bt.Subtensor(_LABEL, substrate=DevChain(network.path))
    return bt.Subtensor(network.name)
