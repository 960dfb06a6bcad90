"""Runs rounds on the chain's clock: each kind with its own cadence, one round of a kind at a time.

A round is named by its number, which is the block divided by the cadence: a validator that was
killed comes back to the same round and measures whom it had not; one that slept through a round
leaves it out, and invents nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from compute.domain.evidence import EvidenceKind
from compute.storage.evidence_rounds import RoundStore
from compute.telemetry import logs
from compute.validator.chainview import ChainView
from compute.validator.targets import Target

BREATH_BLOCKS = 5  # before a broken round is taken up again
log = logs.get("rounds")


class Round(Protocol):
    """One kind of measuring."""

    @property
    def kind(self) -> EvidenceKind:
        """What it writes."""
        ...

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Measure the targets that the round of this id has not measured yet."""
        ...


@dataclass(frozen=True, slots=True)
class Cadence:
    """When the rounds of one kind start.

    Attributes:
        every: blocks between rounds.
        jitter: blocks by which a start is put off, at most; less than `every`.
        secret: makes starts unforeseeable.
    """

    every: int
    jitter: int = 0
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def start(self, number: int) -> int:
        """The block at which a round starts."""
        most = min(self.jitter, self.every - 1)
        drawn = sha256(self.secret + number.to_bytes(8, "big")).digest()
        return number * self.every + int.from_bytes(drawn[:8], "big") % (most + 1)

    def due(self, block: int) -> int:
        """The newest round that has started at a block; may be -1 at the chain's beginning."""
        number = block // self.every
        return number if self.start(number) <= block else number - 1


class Roundabout:
    """Runs the rounds of one kind, again and again.

    Args:
        targets: whom to measure, read when a round starts.
        after: events that must have happened before the first round.

    Attributes:
        first: set once a round of this kind has ended since the start of the process, or had
            ended before.
    """

    def __init__(
        self,
        round_: Round,
        cadence: Cadence,
        *,
        view: ChainView,
        store: RoundStore,
        targets: Callable[[], Sequence[Target]],
        after: Sequence[asyncio.Event] = (),
    ) -> None:
        self.first = asyncio.Event()
        self._round = round_
        self._cadence = cadence
        self._view = view
        self._store = store
        self._targets = targets
        self._after = after
        self._ended = -1

    async def run(self) -> None:
        """Run until cancelled. A round that breaks through our own fault is taken up again."""
        for event in self._after:
            await event.wait()
        block = await self._view.wait_beyond(-1)
        while True:
            pause = 0
            try:
                await self._at(block)
            except Exception:  # a task's root: one broken round must not end the measuring
                log.exception("round_broke", kind=self._round.kind.value)
                pause = BREATH_BLOCKS
            block = await self._view.wait_beyond(block + pause)

    async def _at(self, block: int) -> None:
        number, kind = self._cadence.due(block), self._round.kind
        if number < 0 or number == self._ended:
            return
        if await asyncio.to_thread(self._store.begin, kind, number, block):
            await self._view.look(fresh=True)
            targets = self._targets()
            log.info("round_begins", kind=kind.value, number=number, miners=len(targets))
            await self._round.run(f"{kind.value}-{number}", targets)
            await asyncio.to_thread(self._store.end, kind, number, self._view.block)
            log.info("round_ends", kind=kind.value, number=number, block=self._view.block)
        self._ended = number
        self.first.set()
