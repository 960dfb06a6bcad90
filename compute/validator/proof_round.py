"""The round of proofs: all GPUs of the subnet at once."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256

from compute.domain.evidence import EvidenceKind, Observation, Outcome, Reason
from compute.domain.hardware import Value
from compute.domain.measurement import CPU, ProofContent, ProvenGpu
from compute.proof import result as proof
from compute.proof.channel import Judge, judge_in, run_verifier
from compute.proof.classes import ClassTable
from compute.proof.opening import OpeningCheck
from compute.proof.result import Verdict
from compute.proof.slot import Entropy, Slot, SlotTables
from compute.proof.verifier import GpuPlan, Limits, SessionPlan, VerifierSession
from compute.settings.validation import BoundSettings, DeadlineSettings
from compute.validator.crowd import Exclusion
from compute.validator.grading import leased, plan, unknown, worth
from compute.validator.observing import Desk
from compute.validator.outcomes import PASSED, Judgement, failed, judge, judge_answer
from compute.validator.slots import Candidate, slots_of
from compute.validator.targets import Target
from compute.validator.transport import (
    WAITING_S,
    Caller,
    ChallengeChannel,
    PacedChannel,
    StartGate,
)
from compute.validator.witness import Witness

_FINE = frozenset({Reason.OK, Reason.BUSY})  # of one GPU: proven, or leased out
PATIENCE_S = 600.0  # of the session's own clock, where the paced channel keeps the deadline
_REASONS = {
    proof.Reason.NOT_READY: Reason.PROVER_FAILED,
    proof.Reason.MALFORMED: Reason.MALFORMED,
    proof.Reason.LATE: Reason.LATE,
    proof.Reason.CHANNEL: Reason.UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class ProofTools:
    """What a round of proofs works with.

    Attributes:
        pool: processes that check openings.
        alone: keeps rental probes away while a slot runs.
        clock: monotonic seconds.
    """

    caller: Caller
    classes: ClassTable
    pool: Executor
    deadline: DeadlineSettings
    bound: BoundSettings
    alone: Exclusion = field(default_factory=Exclusion)
    entropy: Entropy = secrets.token_bytes
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class _Slot:
    """One slot while it runs."""

    seeds: Slot
    tables: tuple[SlotTables, ...]
    gate: StartGate
    ready_by: float
    room: asyncio.Semaphore


class ProofRound:
    """Challenges every miner with a fresh claim."""

    kind = EvidenceKind.PROOF

    def __init__(self, desk: Desk, tools: ProofTools) -> None:
        self._desk = desk
        self._tools = tools
        self._chance = random.Random(tools.entropy(16))  # noqa: S311 - only cuts slots

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Measure the targets that this round has not measured yet."""
        done = await self._desk.recorder.measured(round_id, self.kind)
        candidates = [
            planned
            for target in targets
            if target.hotkey not in done and (planned := self._plan(target)) is not None
        ]
        for each in candidates:
            if not each.work:
                await self._desk.write(self._unproven(round_id, each))
        for members in slots_of(candidates, self._tools.bound.sessions, self._chance):
            async with self._tools.alone:
                await self._slot(round_id, members)

    def _plan(self, target: Target) -> Candidate | None:
        """What to ask of a miner; None for one without a good claim, which pays it nothing."""
        claim = self._desk.recorder.book.miner(target.hotkey).claim(0)
        if claim is None or claim.outcome is not Outcome.PASSED:
            return None
        wanted = plan(claim.content.gpus, self._tools.classes)
        return Candidate(target, wanted.work, wanted.unknown)

    def _unproven(self, round_id: str, each: Candidate) -> Observation:
        reason = Reason.UNKNOWN_GPU if each.unknown else Reason.NOTHING_CLAIMED
        names = ", ".join(sorted({gpu.model for gpu in each.unknown}))
        content = ProofContent(address=each.target.address, gpus=unknown(each.unknown))
        judgement = failed(reason, names or "processors are not measured here")
        return self._desk.observe(self.kind, round_id, each.target, judgement, content)

    async def _slot(self, round_id: str, members: list[Candidate]) -> None:
        tools = self._tools
        slot = Slot.fresh(tools.entropy)
        sizes = {assignment.gpu_class.sizes.n for each in members for assignment in each.work}
        loop = asyncio.get_running_loop()
        tables = await asyncio.gather(
            *(loop.run_in_executor(tools.pool, slot.tables, n) for n in sorted(sizes))
        )
        running = _Slot(
            seeds=slot,
            tables=tuple(tables),
            gate=StartGate(len(members)),
            ready_by=tools.clock() + tools.deadline.setup_s,
            room=asyncio.Semaphore(tools.bound.openings),
        )
        witness = Witness(self._desk.view)

        async def prove(each: Candidate) -> None:
            observation = await self._session(round_id, each, running)
            before = self._desk.recorder.book.miner(each.target.hotkey).latest(self.kind, 0)
            answered = before is not None and before.outcome is Outcome.PASSED
            if not witness.hold(observation, answered_before=answered):
                await self._desk.write(observation)

        async with asyncio.TaskGroup() as group:
            for each in members:
                group.create_task(prove(each))
        for observation in await witness.verdicts():
            await self._desk.write(observation)

    async def _session(self, round_id: str, each: Candidate, slot: _Slot) -> Observation:
        tools, target = self._tools, each.target
        started = tools.clock()
        content: Value = ProofContent(address=target.address)
        uuids = tuple(a.gpu for a in each.work if a.gpu != CPU)
        channel: ChallengeChannel | None = None
        paced: PacedChannel | None = None
        try:
            channel = ChallengeChannel(tools.caller, target.peer(), uuids)
            async with asyncio.timeout(self._longest_s(each)):
                await channel.open(max(0.1, slot.ready_by - tools.clock()))
                each = each.without(channel.leased)
                paced = self._paced(channel, each, slot)
                session = VerifierSession(self._session_plan(each, slot), tools.entropy)
                result = await run_verifier(session, paced, tools.clock, self._check(paced))
            judgement, content = self._judge(each, slot, result, channel, tools.clock() - started)
            if paced.waiting and result.reason is proof.Reason.CHANNEL:
                judgement = failed(Reason.OUR_FAULT, "there was no room for its openings")
        except Exception as error:  # noqa: BLE001 - one miner's root: judged, logged there
            judgement = judge_answer(error)
            if isinstance(error, TimeoutError) and paced and (paced.waiting or paced.checking):
                judgement = failed(Reason.OUR_FAULT, "our own side did not finish in time")
            if channel is not None:
                await channel.close()
        finally:
            if paced is None:
                slot.gate.leave()
            else:
                paced.leave_gate()
                paced.leave_room()
        receipts = (channel.receipt,) if channel is not None and channel.receipt else ()
        return self._desk.observe(self.kind, round_id, target, judgement, content, receipts)

    def _paced(self, channel: ChallengeChannel, each: Candidate, slot: _Slot) -> PacedChannel:
        return PacedChannel(
            channel,
            len(each.work),
            gate=slot.gate,
            ready_by=slot.ready_by,
            room=slot.room,
            open_s=self._tools.deadline.open_s,
            clock=self._tools.clock,
        )

    def _check(self, paced: PacedChannel) -> Judge:
        """A judge of openings; the time from when it is asked is ours."""
        check = judge_in(self._tools.pool)

        async def noted(opening: OpeningCheck) -> Verdict:
            paced.checking = True
            return await check(opening)

        return noted

    def _longest_s(self, each: Candidate) -> float:
        deadline, classes = self._tools.deadline, [a.gpu_class for a in each.work]
        run = max(c.limits.chain_s + 2 * c.limits.sweep_s for c in classes)
        return deadline.setup_s + run + len(classes) * (deadline.open_s + 2) + WAITING_S

    def _session_plan(self, each: Candidate, slot: _Slot) -> SessionPlan:
        hotkey = each.target.hotkey
        plans = tuple(
            GpuPlan(a.gpu_class.sizes, slot.seeds.sub(hotkey, a.gpu, index), a.gpu)
            for index, a in enumerate(each.work)
        )
        limits = Limits(
            setup_s=PATIENCE_S,
            chain_s=max(a.gpu_class.limits.chain_s for a in each.work),
            sweep_s=max(a.gpu_class.limits.sweep_s for a in each.work),
            open_s=PATIENCE_S,
        )
        return SessionPlan(
            slot=slot.seeds,
            gpus=plans,
            hotkey=hotkey,
            units=self._tools.bound.units,
            limits=limits,
            tables=slot.tables,
        )

    def _judge(
        self,
        each: Candidate,
        slot: _Slot,
        result: proof.ProofResult,
        channel: ChallengeChannel,
        seconds: float,
    ) -> tuple[Judgement, ProofContent]:
        content = ProofContent(
            address=each.target.address,
            slot=sha256(slot.seeds.seed).hexdigest(),
            roots=tuple(gpu.root_a.hex() for gpu in result.gpus),
            mode=result.mode.name.lower(),
            seconds_ms=int(seconds * 1000),
        )
        if result.passed:
            gpus = (*worth(each.work, result), *leased(each.leased), *unknown(each.unknown))
            worst = next((gpu.reason for gpu in gpus if gpu.reason not in _FINE), None)
            judgement = PASSED if worst is None else failed(worst, _describe(gpus))
            return judgement, content.model_copy(update={"gpus": gpus})
        if result.reason in proof.FALSE_OPENINGS:
            judgement = failed(Reason.OPENING_FAILED, result.detail)
        elif channel.error is not None:
            judgement = judge(channel.error)
        else:
            judgement = failed(_REASONS[result.reason], result.detail)
        return judgement, content


def _describe(gpus: tuple[ProvenGpu, ...]) -> str:
    bad = [f"{gpu.gpu[:12]} {gpu.reason}" for gpu in gpus if gpu.reason not in _FINE]
    return "; ".join(bad)[:300]
