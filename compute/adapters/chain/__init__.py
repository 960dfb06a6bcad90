"""The chain, over the bittensor SDK: real networks and the development chain alike."""

from compute.adapters.chain.network import open_client, parse_network
from compute.adapters.chain.sdk import SdkChain, Timeouts
from compute.adapters.chain.wallets import make_wallet, open_wallet

__all__ = ["SdkChain", "Timeouts", "make_wallet", "open_client", "open_wallet", "parse_network"]
