"""Wallets on disk, opened without ever asking anybody anything."""

from pathlib import Path

import bittensor as bt
from bittensor.keyfiles import KeyfileError, WrongPasswordError
from bittensor.sp_core import get_password_from_environment

from compute.errors import Code, WalletError


def open_wallet(path: Path, name: str, hotkey: str) -> bt.Wallet:
    """Open a wallet with its hotkey in memory; the coldkey stays locked.

    An encrypted hotkey is opened with the password that the SDK's environment variable for its
    file holds (`BT_PW_...`); nobody is ever prompted.

    Args:
        path: folder of wallets, such as `~/.bittensor/wallets`.
        name: name of the coldkey.
        hotkey: name of the hotkey.

    Raises:
        WalletError: the hotkey is missing, locked or damaged.
    """
    wallet = _wallet(path, name, hotkey)
    file = wallet.hotkey_file
    if not file.exists_on_device():
        raise WalletError(Code.WALLET_MISSING, f"wallet '{name}' has no hotkey '{hotkey}'")
    if not file.is_readable():
        raise WalletError(Code.WALLET_MISSING, f"hotkey '{hotkey}' of '{name}' cannot be read")
    try:
        if file.is_encrypted() and not get_password_from_environment(file.env_var_name()):
            raise WalletError(
                Code.WALLET_MISSING,
                f"hotkey '{hotkey}' of wallet '{name}' is encrypted",
                hint="use a hotkey without a password, or give it in the SDK's BT_PW_ variable",
            )
        wallet.unlock_hotkey()
    except (KeyfileError, WrongPasswordError, OSError, ValueError) as error:
        raise WalletError(
            Code.WALLET_MISSING, f"hotkey '{hotkey}' of wallet '{name}' cannot be opened"
        ) from error
    return wallet


def make_wallet(path: Path, name: str, hotkey: str) -> bt.Wallet:
    """Make a wallet whose keys have no password, for development; existing keys are kept.

    The same by hand: `bt.Wallet(name, hotkey, path=...)`, then `create_new_coldkey` and
    `create_new_hotkey`, both with `use_password=False, suppress=True`.
    """
    wallet = _wallet(path, name, hotkey)
    if not wallet.coldkey_file.exists_on_device():
        wallet.create_new_coldkey(use_password=False, suppress=True)
    if not wallet.hotkey_file.exists_on_device():
        wallet.create_new_hotkey(use_password=False, suppress=True)
    return wallet


def _wallet(path: Path, name: str, hotkey: str) -> bt.Wallet:
    # A slash would mean "coldkey/hotkey" to the SDK, and another folder to the file system.
    for part in (name, hotkey):
        if not part or "/" in part or part in {".", ".."}:
            raise WalletError(Code.WALLET_MISSING, f"'{part}' is no name of a key")
    return bt.Wallet(name, hotkey, path=str(path.expanduser()))
