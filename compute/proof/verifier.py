"""The verifier's session: tells what to send and how many bytes to wait for; no I/O, no clock.

::

    begin ──► SETUP ⇄ READY of each g ──► START … ROOT_A(g), SWEEP ⇄ ROOT_B(g) twice, any g first
          ──► OPEN ⇄ UNITS for each g ──► checks ──► conclude ──► result
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from compute.proof import transcript, wire
from compute.proof.opening import OpeningCheck, check_opening
from compute.proof.result import GpuResult, ProofResult, Reason, Verdict
from compute.proof.sizes import MAX_GPUS, MAX_UNITS, SEED_BYTES, Sizes
from compute.proof.slot import Entropy, Slot, SlotTables
from compute.proof.wire import Kind, Mode, Ready, Status, Unit

SWEEPS = 2
"""Sweeps of one GPU, each with a fresh κ; the faster counts and is opened."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each answer may take, in seconds.

    Attributes:
        setup_s: SETUP to the last READY: importing kernels, allocation, known-answer test.
        chain_s: START to a GPU's root_A.
        sweep_s: SWEEP to ROOT_B.
        open_s: OPEN to UNITS.
    """

    setup_s: float = 30.0
    chain_s: float = 60.0
    sweep_s: float = 10.0
    open_s: float = 3.0


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """What one GPU is asked to do.

    Attributes:
        sizes: n, M and Ns.
        sub: the GPU's seed, 32 bytes.
        claim: what the seed is bound to, for the transcript.
    """

    sizes: Sizes
    sub: bytes
    claim: str = ""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One session with one node.

    Attributes:
        slot: the slot's randomness.
        gpus: every GPU of the node, 1 to 64.
        hotkey: the miner's hotkey, for the transcript.
        units: k, places opened of each GPU, 1 to 256.
        mode: how rows of C are obtained.
        limits: deadlines.
        tables: in mode F the slot's tables for every n in use; made once and shared.

    Raises:
        ValueError: a figure is outside its limits, or tables are missing.
    """

    slot: Slot
    gpus: tuple[GpuPlan, ...]
    hotkey: str = ""
    units: int = 32
    mode: Mode = Mode.FREIVALDS
    limits: Limits = Limits()
    tables: tuple[SlotTables, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not (1 <= len(self.gpus) <= MAX_GPUS and 1 <= self.units <= MAX_UNITS):
            raise ValueError("a session takes 1 to 64 GPUs and opens 1 to 256 units")
        if not all(gpu.sizes.challengeable() for gpu in self.gpus):
            raise ValueError("a session needs M of at least 2 and M·n a multiple of 128")
        if any(len(gpu.sub) != SEED_BYTES for gpu in self.gpus):
            raise ValueError("a sub has 32 bytes")
        if self.mode is Mode.FREIVALDS and any(
            self.table(gpu.sizes.n) is None for gpu in self.gpus
        ):
            raise ValueError("mode F needs the slot's tables for every n")

    def table(self, n: int) -> SlotTables | None:
        """Return the slot's tables for n, if they were given."""
        return next((table for table in self.tables if table.n == n), None)


@dataclass(frozen=True, slots=True)
class Step:
    """What a driver does next: send, then wait for exactly `expects` bytes.

    Attributes:
        send: bytes to send first; may be empty.
        expects: bytes to wait for; 0 when the session wants no more.
        timeout_s: how long to wait for them.
    """

    send: bytes = b""
    expects: int = 0
    timeout_s: float = 0.0

    @property
    def done(self) -> bool:
        """Whether nothing more is to come: the checks may be run, or the result is there."""
        return self.expects == 0


class _Phase(Enum):
    NEW = auto()
    SETUP = auto()
    RUN = auto()
    OPEN = auto()
    CHECK = auto()
    OVER = auto()


@dataclass(slots=True)
class _Sweep:
    """One sweep of one GPU."""

    kappa: bytes
    sent: float
    root: bytes = b""
    took: float = 0.0


@dataclass(slots=True)
class _Run:
    """What is known of one GPU so far.

    `deadline` is that of the answer it owes; None when it owes nothing.
    """

    plan: GpuPlan
    deadline: float | None
    ready: Ready | None = None
    root_a: bytes = b""
    chain_s: float = 0.0
    sweeps: list[_Sweep] = field(default_factory=list)
    units: tuple[Unit, ...] = ()
    reply: bytes = b""

    @property
    def counted(self) -> int:
        """Which sweep counts: the faster one."""
        return min(range(len(self.sweeps)), key=lambda index: self.sweeps[index].took)


class VerifierSession:
    """One session with one node.

    Args:
        plan: what to ask for.
        entropy: source of κ and of the units; unpredictable in production.

    Attributes:
        result: the outcome, once there is one.
    """

    def __init__(self, plan: SessionPlan, entropy: Entropy) -> None:
        self.result: ProofResult | None = None
        self._plan = plan
        self._entropy = entropy
        self._phase = _Phase.NEW
        self._runs = [_Run(gpu, None) for gpu in plan.gpus]
        self._started = 0.0
        self._opening = 0

    @property
    def expects(self) -> int:
        """Bytes that `receive` takes next: one whole frame; 0 when none is awaited."""
        sizes = {_Phase.SETUP: wire.READY_BYTES, _Phase.RUN: wire.ROOT_BYTES}
        if self._phase in sizes:
            return wire.HEADER_BYTES + sizes[self._phase]
        if self._phase is _Phase.OPEN:
            gpu = self._runs[self._opening].plan
            return wire.HEADER_BYTES + wire.units_bytes(
                gpu.sizes, self._plan.mode, self._plan.units
            )
        return 0

    @property
    def checks(self) -> tuple[OpeningCheck, ...]:
        """What remains to be checked once the channel has done its part."""
        if self._phase is not _Phase.CHECK:
            return ()
        return tuple(self._check(run) for run in self._runs)

    def begin(self, now: float) -> Step:
        """Start the session at `now` (monotonic seconds)."""
        self._phase = _Phase.SETUP
        self._owe_all(now + self._plan.limits.setup_s)
        return self._step(now, wire.setup([gpu.sizes for gpu in self._plan.gpus]))

    def receive(self, data: bytes, now: float) -> Step:
        """Take the bytes that came by `now`; never raises for anything that they hold."""
        if self.expects == 0:
            return Step()
        if len(data) != self.expects:
            return self._reject(Reason.MALFORMED, "a message of another length")
        if self._overdue(now):
            return self._reject(Reason.LATE, "an answer came after its deadline")
        try:
            header = wire.parse_header(data[: wire.HEADER_BYTES])
            return self._take(header, data[wire.HEADER_BYTES :], now)
        except wire.WireError as error:
            return self._reject(Reason.MALFORMED, str(error))

    def fail(self, reason: Reason, detail: str) -> Step:
        """End the session from outside: the channel broke, or nothing came in time."""
        return self._reject(reason, detail)

    def conclude(self, verdicts: Sequence[Verdict]) -> ProofResult:
        """Take the verdicts of `checks`, in their order, and return the result."""
        if self.result is not None:
            return self.result
        gpus = tuple(
            self._gpu_result(index, run, verdict.reason)
            for index, (run, verdict) in enumerate(zip(self._runs, verdicts, strict=True))
        )
        reason = next((gpu.reason for gpu in gpus if gpu.reason is not Reason.PASSED), None)
        detail = _describe(verdicts)
        self._phase = _Phase.OVER
        self.result = ProofResult(
            passed=reason is None,
            reason=reason or Reason.PASSED,
            detail=detail,
            mode=self._plan.mode,
            gpus=gpus,
            transcript=self._transcript() if self._plan.mode is Mode.RECOMPUTE else b"",
        )
        return self.result

    def finish(self) -> ProofResult:
        """Check the openings here and now, and return the result."""
        return self.conclude([check_opening(check) for check in self.checks])

    def _take(self, header: wire.Header, payload: bytes, now: float) -> Step:
        if header.length != len(payload) or header.gpu >= len(self._runs):
            raise wire.WireError("a header of another length or GPU")
        handlers: dict[tuple[_Phase, int], Callable[[int, bytes, float], Step]] = {
            (_Phase.SETUP, Kind.READY): self._take_ready,
            (_Phase.RUN, Kind.ROOT_A): self._take_root_a,
            (_Phase.RUN, Kind.ROOT_B): self._take_root_b,
            (_Phase.OPEN, Kind.UNITS): self._take_units,
        }
        handler = handlers.get((self._phase, header.kind))
        if handler is None:
            raise wire.WireError("a message out of its turn")
        return handler(header.gpu, payload, now)

    def _take_ready(self, gpu: int, payload: bytes, now: float) -> Step:
        run = self._runs[gpu]
        if run.ready is not None:
            raise wire.WireError("READY came twice")
        run.ready, run.deadline = wire.parse_ready(payload), None
        if run.ready.status is not Status.READY:
            status = run.ready.status.name.lower()
            return self._reject(Reason.NOT_READY, f"GPU {gpu}: {status}")
        if any(other.ready is None for other in self._runs):
            return self._step(now)
        self._phase, self._started = _Phase.RUN, now
        self._owe_all(now + self._plan.limits.chain_s)
        subs = [each.sub for each in self._plan.gpus]
        return self._step(now, wire.start(self._plan.slot.seed, subs))

    def _take_root_a(self, gpu: int, payload: bytes, now: float) -> Step:
        run = self._runs[gpu]
        if run.root_a:
            raise wire.WireError("ROOT_A came twice")
        run.root_a, run.chain_s = payload, now - self._started
        return self._sweep(gpu, now)

    def _take_root_b(self, gpu: int, payload: bytes, now: float) -> Step:
        run = self._runs[gpu]
        if not run.sweeps or run.sweeps[-1].root:
            raise wire.WireError("ROOT_B came unasked")
        sweep = run.sweeps[-1]
        sweep.root, sweep.took, run.deadline = payload, now - sweep.sent, None
        if len(run.sweeps) < SWEEPS:
            return self._sweep(gpu, now)
        if any(other.deadline is not None for other in self._runs):
            return self._step(now)
        self._phase = _Phase.OPEN
        return self._open(now)

    def _take_units(self, gpu: int, payload: bytes, now: float) -> Step:
        if gpu != self._opening:
            raise wire.WireError("UNITS of another GPU")
        run = self._runs[gpu]
        run.reply, run.deadline = payload, None
        self._opening += 1
        if self._opening < len(self._runs):
            return self._open(now)
        self._phase = _Phase.CHECK
        return Step()

    def _sweep(self, gpu: int, now: float) -> Step:
        run = self._runs[gpu]
        run.sweeps.append(_Sweep(self._entropy(SEED_BYTES), now))
        run.deadline = now + self._plan.limits.sweep_s
        return self._step(now, wire.frame(Kind.SWEEP, gpu, run.sweeps[-1].kappa))

    def _open(self, now: float) -> Step:
        run = self._runs[self._opening]
        run.units = draw_units(run.plan.sizes, self._plan.units, self._entropy)
        run.deadline = now + self._plan.limits.open_s
        request = wire.Opening(self._plan.mode, run.counted, run.units)
        return self._step(now, wire.opening(self._opening, request))

    def _owe_all(self, deadline: float) -> None:
        for run in self._runs:
            run.deadline = deadline

    def _deadline(self) -> float:
        return min(run.deadline for run in self._runs if run.deadline is not None)

    def _overdue(self, now: float) -> bool:
        return now > self._deadline()

    def _step(self, now: float, send: bytes = b"") -> Step:
        return Step(send, self.expects, max(0.0, self._deadline() - now))

    def _reject(self, reason: Reason, detail: str) -> Step:
        if self.result is None:
            self._phase = _Phase.OVER
            self.result = ProofResult(
                passed=False, reason=reason, detail=detail, mode=self._plan.mode
            )
        return Step()

    def _check(self, run: _Run) -> OpeningCheck:
        sweep = run.sweeps[run.counted]
        return OpeningCheck(
            sizes=run.plan.sizes,
            mode=self._plan.mode,
            slot=self._plan.slot.seed,
            sub=run.plan.sub,
            root_a=run.root_a,
            kappa=sweep.kappa,
            root_b=sweep.root,
            units=run.units,
            reply=run.reply,
            tables=self._plan.table(run.plan.sizes.n)
            if self._plan.mode is Mode.FREIVALDS
            else None,
        )

    def _gpu_result(self, gpu: int, run: _Run, reason: Reason) -> GpuResult:
        sweep = run.sweeps[run.counted]
        ready = run.ready or Ready(Status.READY)
        return GpuResult(
            gpu=gpu,
            sizes=run.plan.sizes,
            reason=reason,
            chain_s=run.chain_s,
            sweep_s=sweep.took,
            opened=len(run.units),
            root_a=run.root_a,
            root_b=sweep.root,
            path=ready.path,
            device=ready.device,
            memory_bytes=ready.memory_bytes,
        )

    def _transcript(self) -> bytes:
        entries = [
            transcript.Entry(
                self._check(run), run.plan.claim, run.chain_s, run.sweeps[run.counted].took
            )
            for run in self._runs
        ]
        return transcript.encode(self._plan.hotkey, self._plan.slot.secret, entries)


def draw_units(sizes: Sizes, count: int, entropy: Entropy) -> tuple[Unit, ...]:
    """Draw places to open: two in round 1 (fewer if fewer than three are drawn), others anywhere.

    Sixteen bytes of entropy a unit leave a bias below 2^-40.
    """
    return tuple(
        _draw_unit(sizes, 1 if index < min(2, count - 1) else sizes.blocks - 1, entropy)
        for index in range(count)
    )


def _draw_unit(sizes: Sizes, rounds: int, entropy: Entropy) -> Unit:
    below = partial(_below, entropy=entropy)
    return Unit(1 + below(rounds), below(sizes.n))


def _below(bound: int, entropy: Entropy) -> int:
    return int.from_bytes(entropy(8), "little") % bound


def _describe(verdicts: Sequence[Verdict]) -> str:
    failed = [
        f"GPU {gpu} unit {verdict.unit}: {verdict.reason}"
        for gpu, verdict in enumerate(verdicts)
        if verdict.reason is not Reason.PASSED
    ]
    return "; ".join(failed) or "every opening holds"
