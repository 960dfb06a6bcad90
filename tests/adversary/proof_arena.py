"""Where fake miners meet the real verifier: an in-process channel on a clock that is turned."""

# ruff: noqa: D102  (the channel is documented where it is specified)

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compute.proof import wire
from compute.proof.channel import run_verifier
from compute.proof.classes import Figure, GpuClass, Source
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.fleet import Claim, FleetSlot
from compute.proof.grade import Grade, grade
from compute.proof.loopback import LoopbackChannel
from compute.proof.prover import ProverSession
from compute.proof.result import ProofResult
from compute.proof.sizes import Sizes
from compute.proof.wire import Kind, Mode

CHAIN_S = 2.0
SWEEP_S = 0.2


def arena_class(sizes: Sizes = Sizes(128, 6, 64), name: str = "arena") -> GpuClass:  # noqa: B008
    """Return a class whose reference an honest miner of the arena just meets."""
    nominal = {"source": Source.NOMINAL}
    return GpuClass(
        name=name,
        models=(name,),
        sizes=sizes,
        memory_mib=1,
        reference_tops=Figure(value=sizes.operations / CHAIN_S / 1e12, **nominal),
        sweep_reference_s=Figure(value=SWEEP_S, **nominal),
    )


class SeededEntropy:
    """A reproducible source of bytes; each call gives new ones, and a copy gives the same."""

    def __init__(self, seed: object) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """Return bytes."""
        self._count += 1
        return hashlib.shake_256(f"{self._seed}/{self._count}".encode()).digest(size)


def entropy(seed: object) -> SeededEntropy:
    """Return a reproducible source of bytes."""
    return SeededEntropy(seed)


class ManualClock:
    """Monotonic seconds that only move when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Miner:
    """What a miner brings to the arena; the defaults are honest.

    Attributes:
        prover: its program.
        engine: its device.
        chain_s: how long its device takes for a chain, before the next one can start.
        sweep_s: the same for a sweep.
        open_s: how long it takes to open.
        device_of: which physical device serves a claimed GPU.
        tamper: changes a frame before it leaves; returns the bytes that leave.
    """

    prover: type[ProverSession] = ProverSession
    engine: Callable[[int], NumpyEngine] = lambda _: NumpyEngine()
    chain_s: float = CHAIN_S
    sweep_s: float = SWEEP_S
    open_s: float = 0.1
    device_of: Callable[[int], int] = lambda gpu: gpu
    tamper: Callable[[bytes], bytes] = lambda frame: frame
    sent: list[bytes] = field(default_factory=list)


class ArenaChannel(LoopbackChannel):
    """Delivers a miner's frames when its devices would have computed them."""

    def __init__(self, miner: Miner, clock: ManualClock) -> None:
        super().__init__(miner.prover(miner.engine))
        self._miner = miner
        self._clock = clock
        self._free: dict[int, float] = {}
        self._due: list[tuple[float, bytes]] = []

    def deliver(self, frame: bytes) -> None:
        header = wire.parse_header(frame[: wire.HEADER_BYTES])
        costs = {
            Kind.ROOT_A: self._miner.chain_s,
            Kind.ROOT_B: self._miner.sweep_s,
            Kind.UNITS: self._miner.open_s,
        }
        device = self._miner.device_of(header.gpu)
        begins = max(self._clock.now, self._free.get(device, 0.0))
        self._free[device] = begins + costs.get(Kind(header.kind), 0.0)
        leaving = self._miner.tamper(frame)
        self._miner.sent.append(leaving)
        self._due.append((self._free[device], leaving))
        self._due.sort(key=lambda due: due[0])

    async def receive(self, n: int, timeout_s: float) -> bytes:
        data, until = b"", self._clock.now + timeout_s
        while len(data) < n:
            if not self._due or self._due[0][0] > until:
                self._clock.now = until
                raise TimeoutError
            due, frame = self._due.pop(0)
            self._clock.now = max(self._clock.now, due)
            rest = frame[n - len(data) :]
            data += frame[: n - len(data)]
            if rest:
                self._due.insert(0, (due, rest))
        return data


async def challenge(
    miner: Miner,
    *,
    gpu_class: GpuClass | None = None,
    gpus: int = 1,
    units: int = 32,
    mode: Mode = Mode.FREIVALDS,
    seed: object = 0,
) -> tuple[ProofResult, Grade]:
    """Run one real session against a miner and grade it."""
    classes: Sequence[GpuClass] = [gpu_class or arena_class()] * gpus
    slot = FleetSlot.prepare(classes, entropy(f"slot {seed}"))
    claims = [Claim(each, f"GPU-{index}") for index, each in enumerate(classes)]
    session = slot.session("5Miner", claims, entropy(f"session {seed}"), mode, units)
    clock = ManualClock()
    result = await run_verifier(session, ArenaChannel(miner, clock), clock)
    return result, grade(result, classes)
