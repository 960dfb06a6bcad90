"""What it takes to test a handler behind a real axon: a metagraph, a clock, limits for tests."""

from collections.abc import Iterable
from dataclasses import replace

from compute.domain.metagraph import Metagraph, Neuron
from compute.protocol.limits import Limits
from compute.protocol.view import FixedMetagraph

TEST_LIMITS = replace(Limits(), skew_s=0)
"""As in production, but ready at once: test and axon share one clock, so none may be ahead."""


class ManualTime:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now_s: float = 1_800_000_000) -> None:
        self._ns = int(now_s * 1e9)
        self._elapsed = 0.0

    def time_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._ns

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ns += int(seconds * 1e9)
        self._elapsed += seconds


def neuron(
    hotkey: str,
    *,
    uid: int = 0,
    stake: float = 10_000,
    validator_permit: bool = True,
    axon: str | None = None,
) -> Neuron:
    """A neuron; a validator with permit and stake unless said otherwise."""
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=hotkey,
        axon=axon,
        stake=stake,
        validator_permit=validator_permit,
        incentive=0,
        dividends=0,
        last_update=0,
    )


def metagraph(neurons: Iterable[Neuron] = (), *, netuid: int = 1, block: int = 100) -> Metagraph:
    """A metagraph of these neurons."""
    return Metagraph(netuid=netuid, block=block, neurons=tuple(neurons), tempo=360)


def view_of(*validators: str) -> FixedMetagraph:
    """A fresh view of a subnet whose only neurons are these validators."""
    return FixedMetagraph(metagraph(neuron(key, uid=uid) for uid, key in enumerate(validators)))
