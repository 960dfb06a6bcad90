"""Peers to call in tests."""

from compute.protocol.address import Peer
from compute.protocol.axon import Axon


def peer_of(axon: Axon, host: str = "127.0.0.1") -> Peer:
    """Where a started axon is reached on this machine."""
    return Peer(axon.hotkey, host, axon.port)
