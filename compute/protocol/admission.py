"""Admission, denied by default: every check in its order, the cheap ones first. No I/O.

1. Size and shape (the axon's reader does the size while it reads; the headers are read here).
2. `btauth/1`: receiver is me, nonce fresh and of this process, signature good, never seen.
3. The hotkey is registered on our subnet, by a view of the chain whose age is bounded.
4. Not on the deny list; on the allow list, or meeting the synapse's policy (permit and stake).
5. Rate limits.
"""

from dataclasses import dataclass

from compute.domain.metagraph import Neuron
from compute.errors import AdmissionError, Code
from compute.protocol import auth
from compute.protocol.auth import Claim, Headers, Window
from compute.protocol.clock import Clock
from compute.protocol.context import RequestContext
from compute.protocol.gate import Gate, Policy, Standing
from compute.protocol.limits import Buckets, Limits
from compute.protocol.nonces import SECOND, NonceStore
from compute.protocol.view import MetagraphView

_ALL = "all"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over the network.

    Attributes:
        target: path and query exactly as sent.
        address: the caller's network address; empty when unknown.
        trace: trace id, hex.
    """

    method: str
    target: str
    headers: Headers
    address: str
    trace: str


class Admission:
    """Decides who is let in.

    Args:
        hotkey: our own address (ss58).
        view: the metagraph.
        gate: the operator's lists and least stake.
        nonces: what was seen before.
        limits: windows, ages and rates.
        clock: wall clock for nonces, monotonic for rates.

    Raises:
        ValueError: when the store forgets nonces that are still fresh.
    """

    def __init__(
        self,
        hotkey: str,
        *,
        view: MetagraphView,
        gate: Gate,
        nonces: NonceStore,
        limits: Limits,
        clock: Clock,
    ) -> None:
        if nonces.retention_s < limits.max_age_s + limits.skew_s:
            raise ValueError("the store of nonces forgets sooner than nonces grow stale")
        self._hotkey = hotkey
        self._view = view
        self._gate = gate
        self._nonces = nonces
        self._limits = limits
        self._clock = clock
        started = clock.time_ns()
        settle_s = 0 if nonces.durable else limits.skew_s
        self._window = Window(
            limits.max_age_s, limits.skew_s, started, started + int(settle_s * SECOND)
        )
        self._failures = Buckets(limits.failures_per_address, limits.failure_burst, clock)
        self._by_hotkey = Buckets(limits.rate_per_hotkey, limits.burst_per_hotkey, clock)
        self._overall = Buckets(limits.rate, limits.burst, clock)

    @property
    def settled(self) -> bool:
        """Whether nonces of a predecessor can no longer be mistaken for new ones."""
        return self._clock.time_ns() >= self._window.settled_ns

    @property
    def view_age_s(self) -> float:
        """Age of the metagraph in seconds; infinite when none was ever read."""
        return self._view.current()[1]

    def knock(self, request: Request) -> Claim:
        """First look, before the body is read: headers, receiver, freshness.

        Raises:
            AdmissionError: `UNAUTHENTICATED`, `STALE`, `REPLAYED`, `BUSY`; `RATE_LIMITED` when the
                address has sent too many bad signatures.
        """
        wait_s = self._failures.wait_s(request.address)
        if wait_s:
            raise AdmissionError(
                Code.RATE_LIMITED,
                "this address has sent too many bad signatures",
                retry_after_s=wait_s,
            )
        claim = auth.read_claim(request.headers)
        if claim.receiver != self._hotkey:
            raise AdmissionError(Code.UNAUTHENTICATED, "signed for another receiver")
        self._window.check(claim.nonce_ns, self._clock.time_ns())
        return claim

    def vouch(self, claim: Claim, policy: Policy) -> None:
        """Check that a claimed hotkey would be let in, if it is who it says.

        Raises:
            AdmissionError: as `admit` would.
        """
        self._standing(claim.hotkey, policy)

    def admit(self, claim: Claim, request: Request, body: bytes, policy: Policy) -> RequestContext:
        """Let a request in, with its whole body.

        Raises:
            AdmissionError: `UNAUTHENTICATED`, `STALE`, `REPLAYED`, `CHAIN_AWAY`, `NOT_REGISTERED`,
                `DENIED`, `RATE_LIMITED`.
        """
        now_ns = self._clock.time_ns()
        self._window.check(claim.nonce_ns, now_ns)  # again: the body may have taken its time
        try:
            auth.verify(claim, method=request.method, target=request.target, body=body)
        except AdmissionError:
            self._failures.spend(request.address)
            raise
        if not self._nonces.check_and_store(claim.hotkey, claim.nonce_ns, now_ns):
            raise AdmissionError(Code.REPLAYED, "the nonce was seen before")
        neuron = self._standing(claim.hotkey, policy)
        self._spend(claim.hotkey)
        return RequestContext(
            hotkey=claim.hotkey,
            trace=request.trace,
            received_at=now_ns / 1e9,
            neuron=neuron,
            stale=self.view_age_s > self._limits.view_fresh_s,
        )

    def _standing(self, hotkey: str, policy: Policy) -> Neuron | None:
        listed = hotkey in self._gate.allow
        neuron = self._neuron(hotkey, listed=listed)
        if hotkey in self._gate.deny:
            raise AdmissionError(Code.DENIED, "the hotkey is on the deny list")
        reason = policy(Standing(hotkey, neuron, listed, self._gate))
        if reason is not None:
            raise AdmissionError(Code.DENIED, reason)
        return neuron

    def _neuron(self, hotkey: str, *, listed: bool) -> Neuron | None:
        metagraph, age_s = self._view.current()
        usable = metagraph is not None and age_s <= self._limits.view_usable_s
        neuron = metagraph.neuron(hotkey) if metagraph is not None and usable else None
        if neuron is not None or listed:
            return neuron
        self._view.poke()
        if not usable:
            raise AdmissionError(
                Code.CHAIN_AWAY, "the view of the chain is too old", retry_after_s=30
            )
        if age_s > self._limits.view_fresh_s:
            raise AdmissionError(
                Code.CHAIN_AWAY,
                "the view of the chain is stale and does not know this hotkey",
                retry_after_s=30,
            )
        raise AdmissionError(Code.NOT_REGISTERED)

    def _spend(self, hotkey: str) -> None:
        wait_s = max(self._by_hotkey.wait_s(hotkey), self._overall.wait_s(_ALL))
        if wait_s:
            raise AdmissionError(Code.RATE_LIMITED, retry_after_s=wait_s)
        self._by_hotkey.spend(hotkey)
        self._overall.spend(_ALL)
