"""The round of specs: what each miner claims to have, signed by it."""

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from compute.domain.evidence import EvidenceKind, Observation, Outcome
from compute.domain.measurement import ClaimedGpu, SpecsContent
from compute.errors import Code, PeerError
from compute.protocol.synapses import SPECS, SpecsReply, SpecsRequest
from compute.validator.crowd import each
from compute.validator.observing import Desk, entry_of
from compute.validator.outcomes import PASSED, judge_answer
from compute.validator.targets import Target
from compute.validator.transport import Caller
from compute.validator.witness import Witness

MOST_GPUS = 4096  # of one claim, as many as evidence holds
GRACE_S = 2.0  # beyond the call's own deadline, which should have ended it


class SpecsRound:
    """Asks every miner for its specs.

    Args:
        caller: signs and sends.
        deadline_s: for one miner.
        at_once: miners asked at the same time.
    """

    kind = EvidenceKind.SPECS

    def __init__(self, desk: Desk, caller: Caller, *, deadline_s: float, at_once: int) -> None:
        self._desk = desk
        self._caller = caller
        self._deadline_s = deadline_s
        self._at_once = at_once

    async def run(self, round_id: str, targets: Sequence[Target]) -> None:
        """Measure the targets that this round has not measured yet."""
        recorder = self._desk.recorder
        done = await recorder.measured(round_id, self.kind)
        witness = Witness(self._desk.view)

        async def measure(target: Target) -> None:
            observation = await self._ask(round_id, target)
            last = recorder.book.miner(target.hotkey).latest(self.kind, 0)
            before = last is not None and last.outcome is Outcome.PASSED
            if not witness.hold(observation, answered_before=before):
                await self._desk.write(observation)

        missing = [target for target in targets if target.hotkey not in done]
        await each(missing, measure, at_once=self._at_once)
        for observation in await witness.verdicts():
            await self._desk.write(observation)

    async def _ask(self, round_id: str, target: Target) -> Observation:
        try:
            async with asyncio.timeout(self._deadline_s + GRACE_S):
                answer = await self._caller.call(
                    target.peer(), SPECS, SpecsRequest(), timeout_s=self._deadline_s
                )
            receipt = answer.receipt
            content = claim_of(answer.reply, target.address, entry_of(receipt).body_sha256)
            return self._desk.observe(self.kind, round_id, target, PASSED, content, (receipt,))
        except Exception as error:  # noqa: BLE001 - one miner's root: judged, logged there
            judgement = judge_answer(error)
        nothing = SpecsContent(address=target.address)
        return self._desk.observe(self.kind, round_id, target, judgement, nothing)


def claim_of(reply: SpecsReply, address: str, body_sha256: str) -> SpecsContent:
    """What evidence keeps of a claim.

    Raises:
        PeerError: `PEER_INVALID` when its sums are beyond what evidence holds.
    """
    gpus = tuple(
        ClaimedGpu(uuid=gpu.uuid, model=gpu.model, memory_mib=gpu.memory_mib)
        for host in reply.hosts
        for gpu in host.gpus
    )
    try:
        return SpecsContent(
            address=address,
            software=reply.software,
            gpus=gpus[:MOST_GPUS],
            hosts=len(reply.hosts),
            cpus=sum(host.cpus for host in reply.hosts),
            memory_mib=sum(host.memory_mib for host in reply.hosts),
            body_sha256=body_sha256,
        )
    except ValidationError as error:
        raise PeerError(Code.PEER_INVALID, "it claims more than there can be") from error
