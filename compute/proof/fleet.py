"""A fleet-wide slot: one draw of randomness for all GPUs that are challenged together.

All GPUs of a class, over all miners, are challenged in one slot, at the same time: one physical
GPU can then serve one claim only, and B·W is computed once for all of them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from compute.proof.classes import GpuClass
from compute.proof.slot import Entropy, Slot, SlotTables
from compute.proof.verifier import GpuPlan, Limits, SessionPlan, VerifierSession
from compute.proof.wire import Mode

UNITS = 32
"""Places opened of each GPU: 5% of skipped rows are found four times out of five."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One GPU that a miner says it has.

    Attributes:
        gpu_class: the class it was claimed to be.
        label: what the GPU's seed is bound to, for example its UUID.
    """

    gpu_class: GpuClass
    label: str = ""

    @property
    def text(self) -> str:
        """What goes into the seed and the transcript."""
        return f"{self.gpu_class.name}/{self.label}"


@dataclass(frozen=True, slots=True)
class FleetSlot:
    """A slot, ready to challenge any number of nodes.

    Attributes:
        slot: the slot's randomness.
        tables: the secret projections of B, one for each n in use; none are needed in mode R.
    """

    slot: Slot
    tables: tuple[SlotTables, ...] = ()

    @classmethod
    def prepare(cls, classes: Iterable[GpuClass], entropy: Entropy) -> "FleetSlot":
        """Draw a slot and derive its tables here: 0.1 s for n = 8192 on one core."""
        slot = Slot.fresh(entropy)
        return cls(slot, tuple(slot.tables(n) for n in _widths(classes)))

    @classmethod
    async def prepare_in(
        cls, pool: Executor, classes: Iterable[GpuClass], entropy: Entropy
    ) -> "FleetSlot":
        """Draw a slot and derive its tables in a pool."""
        slot, loop = Slot.fresh(entropy), asyncio.get_running_loop()
        jobs = [loop.run_in_executor(pool, slot.tables, n) for n in _widths(classes)]
        return cls(slot, tuple(await asyncio.gather(*jobs)))

    def session(
        self,
        hotkey: str,
        claims: Sequence[Claim],
        entropy: Entropy,
        mode: Mode = Mode.FREIVALDS,
        units: int = UNITS,
    ) -> VerifierSession:
        """Make the session for one node.

        Args:
            hotkey: the miner's hotkey.
            claims: the node's GPUs, in its own order, 1 to 64.
            entropy: source of κ and of the places to open.
            mode: how rows of C are obtained.
            units: places to open of each GPU.

        Raises:
            ValueError: no claims or too many, or an n that the slot was not prepared for.
        """
        plan = SessionPlan(
            slot=self.slot,
            gpus=tuple(
                GpuPlan(claim.gpu_class.sizes, self.slot.sub(hotkey, claim.text, gpu), claim.text)
                for gpu, claim in enumerate(claims)
            ),
            hotkey=hotkey,
            units=units,
            mode=mode,
            limits=_widest([claim.gpu_class.limits for claim in claims]),
            tables=self.tables,
        )
        return VerifierSession(plan, entropy)


def _widths(classes: Iterable[GpuClass]) -> list[int]:
    return sorted({each.sizes.n for each in classes})


def _widest(limits: Sequence[Limits]) -> Limits:
    return Limits(
        chain_s=max((each.chain_s for each in limits), default=0.0),
        sweep_s=max((each.sweep_s for each in limits), default=0.0),
    )
