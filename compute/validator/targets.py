"""Whom a round measures: every other neuron that serves, or did, with the chain's address."""

from collections.abc import Container
from dataclasses import dataclass

from compute.domain.metagraph import Metagraph
from compute.errors import Code, PeerError
from compute.protocol.address import Peer


@dataclass(frozen=True, slots=True)
class Target:
    """One neuron to measure.

    Attributes:
        address: as announced on chain; empty when it announces none.
        certificate_sha256: of its TLS certificate, as published on chain; None: plain HTTP.
    """

    uid: int
    hotkey: str
    address: str
    certificate_sha256: bytes | None = None

    def peer(self) -> Peer:
        """Whom to call.

        Raises:
            PeerError: `ADDRESS_REFUSED` when the chain holds no usable address.
        """
        if not self.address:
            raise PeerError(Code.ADDRESS_REFUSED, "it announces no address")
        return Peer.parse(self.hotkey, self.address, self.certificate_sha256)


def targets_of(
    metagraph: Metagraph, own_hotkey: str, known: Container[str] = ()
) -> tuple[Target, ...]:
    """Neurons that serve an axon, and those that were measured before, but ourselves.

    Args:
        metagraph: the subnet.
        own_hotkey: ours.
        known: hotkeys with evidence: a miner that stops announcing itself is still measured.
    """
    return tuple(
        Target(neuron.uid, neuron.hotkey, neuron.axon or "", neuron.certificate_sha256)
        for neuron in metagraph.neurons
        if neuron.hotkey != own_hotkey and (neuron.axon or neuron.hotkey in known)
    )
