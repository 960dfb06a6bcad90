"""A ready-made chain for tests, and the shape that any other one must have to be tested alike.

`dev_host` is the default of the conformance suite; `COMPUTE_CHAIN_FACTORY=package.module:callable`
names another, for example one over a local subtensor node.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import bittensor as bt
from bittensor.sp_core import Keypair

from compute.adapters.chain import SdkChain
from compute.adapters.chain.devchain import ChainParams, Provision, SubnetParams, create
from compute.adapters.chain.network import open_subtensor

HOST_NETUID = 1
FUNDS_TAO = 1_000.0


@dataclass(frozen=True)
class DevWallet:
    """Keys from a development phrase, such as `//Alice`; the same phrase gives the same keys."""

    phrase: str
    coldkey: Keypair = field(init=False, repr=False, compare=False)
    hotkey: Keypair = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "coldkey", Keypair.create_from_uri(self.phrase))
        object.__setattr__(self, "hotkey", Keypair.create_from_uri(f"{self.phrase}//hotkey"))

    @property
    def coldkeypub(self) -> Keypair:
        """The coldkey's public view."""
        return self.coldkey

    @property
    def address(self) -> str:
        """Address (ss58) of the hotkey."""
        return str(self.hotkey.ss58_address)


class ChainHost(Protocol):
    """A chain with one subnet of its own, for one test.

    Attributes:
        network: its name, as `--subtensor.network` takes it.
        netuid: the subnet.
    """

    network: str
    netuid: int

    def wallet(self, phrase: str) -> DevWallet:
        """A wallet with a funded coldkey and an unregistered hotkey."""
        ...

    def stake(self, wallet: DevWallet, alpha: float) -> None:
        """Put stake on a registered hotkey."""
        ...

    def advance(self, blocks: int) -> None:
        """Return when so many more blocks have passed."""
        ...

    def close(self) -> None:
        """Take everything away."""
        ...


ChainFactory = Callable[[Path, SubnetParams], ChainHost]
"""Makes a host; it may keep files in the folder, which is removed after the test."""


class DevHost:
    """A development chain as a host. Implements `ChainHost`.

    Args:
        folder: where its file goes.
        params: hyperparameters of its subnet.
        chain: constants of the chain; blocks come only by `advance` where nothing else is said.
    """

    def __init__(
        self, folder: Path, params: SubnetParams, chain: ChainParams | None = None
    ) -> None:
        self.path = folder / "chain.sqlite"
        self.network = f"dev:{self.path}"
        self.netuid = HOST_NETUID
        self.provision: Provision = create(
            self.path, chain or ChainParams(manual=True, block_s=0.25), {HOST_NETUID: params}
        )

    def wallet(self, phrase: str) -> DevWallet:
        """A wallet with a funded coldkey and an unregistered hotkey."""
        made = DevWallet(phrase)
        self.provision.fund(made.coldkey.ss58_address, FUNDS_TAO)
        return made

    def registered(self, phrase: str, *, stake: float = 0.0) -> DevWallet:
        """A wallet whose hotkey is registered, with so much stake in alpha."""
        made = self.wallet(phrase)
        cold = made.coldkey.ss58_address
        self.provision.register(self.netuid, made.address, cold, stake=stake)
        return made

    def stake(self, wallet: DevWallet, alpha: float) -> None:
        """Put stake on a registered hotkey."""
        self.provision.stake(self.netuid, wallet.address, alpha)

    def advance(self, blocks: int) -> None:
        """Let so many blocks pass at once."""
        self.provision.advance(blocks)

    def subtensor(self) -> bt.Subtensor:
        """The SDK's blocking client; close it after use."""
        return open_subtensor(self.network)

    def chain(self, wallet: DevWallet) -> SdkChain:
        """What a neuron with this wallet sees of the chain; close it after use."""
        return SdkChain(self.network, self.netuid, wallet)

    def close(self) -> None:
        """Let go of the file; the folder is the test's own."""
        self.provision.close()


def dev_host(folder: Path, params: SubnetParams) -> ChainHost:
    """Make a development chain in a folder."""
    return DevHost(folder, params)
