"""Whose key signs: anything with a hotkey, or a keypair itself.

The SDK's `Wallet`, its development keypairs and test doubles all fit.
"""

import re
from typing import Any, Literal, Protocol

from bittensor import sp_core
from bittensor.wallets import CRYPTO_TYPE_NAMES

from compute.errors import Code, WalletError

SCHEMES: dict[str, int] = {name: number for number, name in CRYPTO_TYPE_NAMES.items()}
Scheme = Literal["sr25519", "ed25519"]
ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{46,50}")


class Key(Protocol):
    """A keypair that can sign."""

    @property
    def ss58_address(self) -> str:
        """Address of the public half."""
        ...

    @property
    def public_key(self) -> bytes:
        """The public half, 32 bytes."""
        ...

    @property
    def crypto_type(self) -> int:
        """Number of the signature scheme in the SDK: 0 ed25519, 1 sr25519."""
        ...

    def sign(self, payload: bytes, /) -> bytes:
        """Sign bytes."""
        ...


def hotkey_of(wallet: Any) -> Key:
    """The signing key of a wallet, or the key itself when one was given.

    Raises:
        WalletError: `WALLET_MISSING` when there is none, or when it does not sign.
    """
    try:
        key: Key = getattr(wallet, "hotkey", wallet)
        if ADDRESS.fullmatch(key.ss58_address) and key.crypto_type in CRYPTO_TYPE_NAMES:
            return key
    except Exception as error:  # the SDK raises many kinds for missing and locked key files
        raise WalletError(Code.WALLET_MISSING) from error
    raise WalletError(Code.WALLET_MISSING, "the hotkey's signature scheme is not known")


def scheme_of(key: Key) -> Scheme:
    """Name of a key's signature scheme."""
    return "ed25519" if CRYPTO_TYPE_NAMES[key.crypto_type] == "ed25519" else "sr25519"


def signature_holds(message: bytes, signature: bytes, address: str, scheme: str) -> bool:
    """Whether a signature is an address's over a message; malformed ones do not hold."""
    try:
        return bool(sp_core.verify(message, signature, address, SCHEMES[scheme]))
    except (KeyError, ValueError):
        return False
