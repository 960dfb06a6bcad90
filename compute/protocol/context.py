"""What a handler is told about the request that it answers."""

from dataclasses import dataclass

from compute.domain.metagraph import Neuron


@dataclass(frozen=True, slots=True)
class RequestContext:
    """An admitted request, seen from the inside.

    Attributes:
        hotkey: the caller, authenticated (ss58).
        trace: trace id of the whole operation, hex.
        received_at: Unix seconds.
        neuron: the caller's row of the metagraph; None for an allow-listed stranger.
        stale: whether the view of the chain was older than its limit.
    """

    hotkey: str
    trace: str
    received_at: float
    neuron: Neuron | None = None
    stale: bool = False
