"""Watches over rentals: a miner that cannot be reached is noticed, recorded and paid for.

Only what a tenant cannot bring about himself counts: whether the miner's axon answers. What runs
inside a lease is the tenant's own. Pings are written as evidence when something changes and once
in a while, not each time, so that a quiet subnet keeps a short log.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.measurement import PingContent, PingCredit
from compute.domain.rental import RentalEventKind, RentalState
from compute.errors import ComputeError
from compute.protocol.synapses import SPECS, SpecsRequest
from compute.storage.rentals import Held
from compute.validator.crowd import each
from compute.validator.observing import Desk
from compute.validator.outcomes import PASSED, Judgement, failed, judge
from compute.validator.renting.desk import RentalDesk
from compute.validator.targets import Target
from compute.validator.transport import Caller
from compute.validator.witness import SILENT, Witness

QUIET_BLOCKS = 75  # a miner that keeps answering is written down this often


@dataclass(slots=True)
class _Watch:
    """What is known of one miner with rentals.

    Attributes:
        heard_s: monotonic time of its last answer, or of the first look.
        credited_s: monotonic time up to which the outage was credited.
        down: whether it was unreachable when last looked at.
        written_block: block of the last record.
    """

    heard_s: float
    credited_s: float
    down: bool = False
    written_block: int = 0


@dataclass
class PingRound:
    """Pings every miner on which this validator's tenants have live rentals."""

    desk: Desk
    rentals: RentalDesk
    caller: Caller
    deadline_s: float
    at_once: int
    clock: Callable[[], float] = time.monotonic
    kind: EvidenceKind = EvidenceKind.PING
    _watches: dict[str, _Watch] = field(default_factory=dict)

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Ping the miners that have rentals, and settle what an outage costs them."""
        await self.rentals.sweep()
        held = await asyncio.to_thread(
            self.rentals.store.in_state, RentalState.ACTIVE, RentalState.PAUSED
        )
        leases: defaultdict[str, list[Held]] = defaultdict(list)
        for rental in held:
            leases[rental.rental.miner].append(rental)
        self._watches = {k: v for k, v in self._watches.items() if k in leases}
        where = {target.hotkey: target for target in targets}
        witness = Witness(self.desk.view)
        found: dict[str, Judgement] = {}

        async def ping(hotkey: str) -> None:
            target = where.get(hotkey) or Target(0, hotkey, "")
            found[hotkey] = await self._ping(target)

        await each(list(leases), ping, at_once=self.at_once)
        for hotkey, judgement in found.items():
            target = where.get(hotkey) or Target(0, hotkey, "")
            heard = not self._watch(hotkey).down
            bare = self._observation(round_id, target, judgement, ())
            witness.hold(bare, answered_before=heard)
        for doubted in filter(_is_ours, await witness.verdicts()):
            found[doubted.miner] = failed(doubted.reason, doubted.detail)
        for hotkey, judgement in found.items():
            target = where.get(hotkey) or Target(0, hotkey, "")
            await self._settle(round_id, target, judgement, leases[hotkey])

    async def _ping(self, target: Target) -> Judgement:
        try:
            async with asyncio.timeout(self.deadline_s + 1):
                await self.caller.call(
                    target.peer(), SPECS, SpecsRequest(), timeout_s=self.deadline_s
                )
        except (ComputeError, TimeoutError) as error:
            judgement = judge(error)
            if judgement.outcome is Outcome.INCONCLUSIVE:
                return judgement
            reason = judgement.reason if judgement.reason in SILENT else Reason.RENTAL_DOWN
            return Judgement(Outcome.FAILED, reason, judgement.detail)
        return PASSED

    async def _settle(
        self, round_id: str, target: Target, judgement: Judgement, leases: list[Held]
    ) -> None:
        watch, now = self._watch(target.hotkey), self.clock()
        if judgement.outcome is Outcome.INCONCLUSIVE:
            watch.credited_s = now  # nobody is charged for what we could not see
            return
        down = judgement.outcome is Outcome.FAILED
        owed_ms = 0
        if down or watch.down:
            owed_ms = int((now - max(watch.heard_s, watch.credited_s)) * 1000)
            watch.credited_s = now
        if down is not watch.down:
            event = RentalEventKind.UNREACHABLE if down else RentalEventKind.REACHABLE
            for held in leases:
                await self.rentals.note(held, event, judgement.detail)
        quiet = self.desk.view.block - watch.written_block < QUIET_BLOCKS
        if down or watch.down or not quiet:
            owed = tuple(_credit(held, owed_ms) for held in leases) if owed_ms else ()
            shown = judgement if not down else failed(Reason.RENTAL_DOWN, judgement.detail)
            down_ms = int((now - watch.heard_s) * 1000) if down else 0
            await self.desk.write(self._observation(round_id, target, shown, owed, down_ms))
            for held in leases:
                if owed_ms:
                    await self.rentals.credit(held, owed_ms, f"unreachable for {owed_ms} ms")
            watch.written_block = self.desk.view.block
        watch.down = down
        if not down:
            watch.heard_s = watch.credited_s = now

    def _watch(self, hotkey: str) -> _Watch:
        now = self.clock()
        return self._watches.setdefault(hotkey, _Watch(heard_s=now, credited_s=now))

    def _observation(
        self,
        round_id: str,
        target: Target,
        judgement: Judgement,
        owed: tuple[PingCredit, ...],
        down_ms: int = 0,
    ) -> Observation:
        content = PingContent(address=target.address, down_ms=down_ms, credits=owed)
        return self.desk.observe(self.kind, round_id, target, judgement, content)


def _is_ours(observation: Observation) -> bool:
    return observation.outcome is Outcome.INCONCLUSIVE


def _credit(held: Held, ms: int) -> PingCredit:
    """A credit in evidence names the tenant by a hash: evidence is published."""
    return PingCredit(
        lease=held.rental.lease,
        tenant=sha256(held.tenant.encode()).hexdigest()[:16],
        credit_ms=ms,
    )
