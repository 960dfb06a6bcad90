"""Every limit of an axon, named, and the counters that enforce them."""

import asyncio
from dataclasses import dataclass

from compute.errors import AdmissionError, Code
from compute.protocol.clock import Clock

KIB = 1024
MIB = 1024 * KIB
_MOST_BUCKETS = 16_384  # distinct hotkeys or addresses that are remembered at a time


@dataclass(frozen=True, slots=True)
class Limits:
    """What an axon puts up with.

    Attributes:
        max_age_s: oldest nonce that is fresh.
        skew_s: how far a caller's clock may be ahead. A process without a durable store of nonces
            answers `busy` for so long after its start: a nonce that its predecessor took may
            still be that far in the future.
        view_fresh_s: age of the metagraph up to which it is taken as the truth.
        view_usable_s: age beyond which even known callers are refused.
        rate_per_hotkey: synapses a second and hotkey, sustained; `burst_per_hotkey` at once.
        rate: synapses a second from all admitted callers; `burst` at once.
        running_per_hotkey: synapses of one hotkey that are handled at a time.
        running: synapses that are handled at a time.
        failures_per_address: refused signatures a second and network address, sustained (0: no
            limit); `failure_burst` at once. Beyond it the address is refused unseen.
        unproven_body_bytes: largest body read for a claimed hotkey that would not be admitted.
        body_budget_bytes: bodies held in memory at a time, all requests together.
        head_bytes: largest request line with headers.
        head_s: time for a request's head to arrive.
        body_s: time for a body to arrive, plus one second for each `body_rate` bytes.
        idle_s: how long an unused connection stays open.
        linger_s: how long the rest of a refused body is read and thrown away.
        connections: open connections; `connections_per_address` from one address.
    """

    max_age_s: float = 10
    skew_s: float = 2
    view_fresh_s: float = 600
    view_usable_s: float = 86_400
    rate_per_hotkey: float = 50
    burst_per_hotkey: float = 200
    rate: float = 2000
    burst: float = 4000
    running_per_hotkey: int = 64
    running: int = 512
    failures_per_address: float = 100
    failure_burst: float = 500
    unproven_body_bytes: int = 64 * KIB
    body_budget_bytes: int = 256 * MIB
    head_bytes: int = 16 * KIB
    head_s: float = 5
    body_s: float = 10
    body_rate: int = 256 * KIB
    idle_s: float = 30
    linger_s: float = 2
    connections: int = 4096
    connections_per_address: int = 1024


class Buckets:
    """Token buckets by name: a sustained rate and a burst for each.

    Args:
        rate: tokens a second; 0 switches the limit off.
        burst: most tokens that gather.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}  # name: (tokens, when counted)

    def wait_s(self, name: str) -> float:
        """Seconds until one token is there; 0 when there is one now."""
        if self._rate <= 0:
            return 0
        return max(0.0, (1 - self._level(name)) / self._rate)

    def spend(self, name: str) -> None:
        """Take one token, going into debt if need be (at most one burst deep)."""
        if self._rate <= 0:
            return
        level = max(self._level(name) - 1, -self._burst)
        self._levels.pop(name, None)
        self._levels[name] = (level, self._clock.monotonic())
        if len(self._levels) > _MOST_BUCKETS:  # forget the one that was quiet for longest
            self._levels.pop(next(iter(self._levels)))

    def _level(self, name: str) -> float:
        tokens, counted = self._levels.get(name, (self._burst, 0.0))
        return min(self._burst, tokens + (self._clock.monotonic() - counted) * self._rate)


class Running:
    """How many synapses are being handled, in all and for each hotkey.

    Args:
        most: in all.
        most_each: for one hotkey.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._by_hotkey: dict[str, int] = {}
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def enter(self, hotkey: str) -> None:
        """Count one in.

        Raises:
            AdmissionError: `BUSY` at the limit of all, `RATE_LIMITED` at the hotkey's own.
        """
        if self.count >= self._most:
            raise AdmissionError(Code.BUSY, "too many requests are running", retry_after_s=1)
        if self._by_hotkey.get(hotkey, 0) >= self._most_each:
            raise AdmissionError(
                Code.RATE_LIMITED, "too many requests of this hotkey are running", retry_after_s=1
            )
        self.count += 1
        self.idle.clear()
        self._by_hotkey[hotkey] = self._by_hotkey.get(hotkey, 0) + 1

    def leave(self, hotkey: str) -> None:
        """Count one out."""
        self.count -= 1
        if not self.count:
            self.idle.set()
        left = self._by_hotkey[hotkey] - 1
        if left:
            self._by_hotkey[hotkey] = left
        else:
            del self._by_hotkey[hotkey]
