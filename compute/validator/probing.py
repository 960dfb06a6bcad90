"""Rental probes: now and then each miner is rented from, at a time that it cannot foresee."""

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from compute.domain.evidence import EvidenceKind, Observation, Outcome
from compute.domain.measurement import CheckEntry, ProbeContent
from compute.protocol.address import Peer
from compute.protocol.receipts import Receipt
from compute.validator.crowd import Exclusion, each
from compute.validator.observing import Desk
from compute.validator.outcomes import Judgement, judge_answer
from compute.validator.targets import Target
from compute.validator.witness import BROKEN, SILENT, Witness

GRACE_S = 30.0  # a probe that gives back what it leased may take so long beyond its deadline


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """What a rental probe found.

    Attributes:
        checks: in the order in which they were made.
        ready_ms: from the request to the first login.
        receipts: the miner's signatures under what it answered.
    """

    judgement: Judgement
    checks: tuple[CheckEntry, ...] = ()
    ready_ms: int = 0
    receipts: tuple[Receipt, ...] = ()


class RentalProbe(Protocol):
    """Rents from a miner as a renter would, and gives back what it leased whatever happens."""

    async def rent(self, peer: Peer, deadline_s: float) -> ProbeVerdict:
        """Probe one miner.

        Raises:
            ComputeError: what stood in the way, if there is no verdict.
        """
        ...


class ProbeRound:
    """Probes every miner once, at random times spread over the round.

    Args:
        probe: does it.
        spread_blocks: length of the round in blocks.
        alone: keeps probes and proof slots apart.
    """

    kind = EvidenceKind.PROBE

    def __init__(
        self,
        desk: Desk,
        probe: RentalProbe,
        *,
        deadline_s: float,
        at_once: int,
        spread_blocks: int,
        alone: Exclusion,
    ) -> None:
        self._desk = desk
        self._probe = probe
        self._deadline_s = deadline_s
        self._at_once = at_once
        self._spread = spread_blocks
        self._alone = alone
        self._chance = random.Random(secrets.token_bytes(16))  # noqa: S311 - seeded from secrets

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Probe the targets that this round has not probed yet and that claim something."""
        recorder, view = self._desk.recorder, self._desk.view
        done = await recorder.measured(round_id, self.kind)
        due = [
            (view.block + self._chance.randrange(self._spread), target)
            for target in targets
            if target.hotkey not in done and self._claims(target)
        ]
        due.sort(key=lambda entry: (entry[0], entry[1].uid))
        broken = Witness(view, BROKEN)  # of the whole round

        async def measure(entry: tuple[int, Target]) -> None:
            block, target = entry
            await view.wait_beyond(block - 1)
            await self._alone.share()
            try:
                observation = await self._rent(round_id, target)
            finally:
                await self._alone.unshare()
            if broken.hold(observation, answered_before=self._passed_before(target)):
                return
            silent = Witness(view, SILENT)
            silent.hold(observation, answered_before=True)
            for settled in await silent.verdicts() or [observation]:
                await self._desk.write(settled)

        await each(due, measure, at_once=self._at_once)
        for observation in await broken.verdicts():
            await self._desk.write(observation)

    def _passed_before(self, target: Target) -> bool:
        last = self._desk.recorder.book.miner(target.hotkey).latest(self.kind, 0)
        return last is not None and last.outcome is Outcome.PASSED

    def _claims(self, target: Target) -> bool:
        claim = self._desk.recorder.book.miner(target.hotkey).claim(0)
        return claim is not None and claim.outcome is Outcome.PASSED

    async def _rent(self, round_id: str, target: Target) -> Observation:
        try:
            async with asyncio.timeout(self._deadline_s + GRACE_S):
                verdict = await self._probe.rent(target.peer(), self._deadline_s)
            return self._found(round_id, target, verdict)
        except Exception as error:  # noqa: BLE001 - one miner's root: judged, logged there
            judgement = judge_answer(error)
        return self._found(round_id, target, ProbeVerdict(judgement))

    def _found(self, round_id: str, target: Target, verdict: ProbeVerdict) -> Observation:
        content = ProbeContent(
            address=target.address, checks=verdict.checks, ready_ms=verdict.ready_ms
        )
        return self._desk.observe(
            self.kind, round_id, target, verdict.judgement, content, verdict.receipts
        )
