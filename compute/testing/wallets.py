"""Development wallets: the keys that everybody knows, never to be funded on a real chain."""

from dataclasses import dataclass
from typing import Any

from bittensor.sp_core import CRYPTO_SR25519, Keypair


@dataclass(frozen=True, slots=True)
class DevWallet:
    """A wallet of one keypair for all its roles, as far as the SDK and this product look at it."""

    coldkey: Any
    coldkeypub: Any
    hotkey: Any

    @property
    def address(self) -> str:
        """The hotkey's address (ss58)."""
        address: str = self.hotkey.ss58_address
        return address


def dev_wallet(name: str = "Alice", *, crypto_type: int = CRYPTO_SR25519) -> DevWallet:
    """The wallet of a development key such as `Alice`; the same name gives the same keys."""
    hotkey = Keypair.create_from_uri(f"//{name}", crypto_type=crypto_type)
    coldkey = Keypair.create_from_uri(f"//{name}//cold", crypto_type=CRYPTO_SR25519)
    return DevWallet(coldkey, coldkey, hotkey)
