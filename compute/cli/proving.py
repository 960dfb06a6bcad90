"""How a validator and the checker rent and prove: the probe with the proof inside."""

import asyncio

from compute.adapters.ssh.session import SshSession
from compute.domain.evidence import Reason
from compute.domain.hardware import Gpu
from compute.domain.measurement import CheckEntry
from compute.errors import Code, ComputeError, ProbeError
from compute.probes import inside
from compute.probes.proof import prove_inside, require
from compute.probes.rental import ProbePlan, RentalProbe
from compute.probes.report import Outcome, ProbeReport
from compute.protocol.address import Peer
from compute.protocol.dendrite import Dendrite
from compute.validator.outcomes import PASSED, Judgement, failed, judge, judge_refusal
from compute.validator.probing import ProbeVerdict

DETAIL = 300
_READY = ("allocate", "login")


async def prove(session: SshSession, hotkey: str, claimed: tuple[Gpu, ...]) -> str:
    """Prove what is inside a container; tells what was proven.

    What a GPU has to prove follows from the miner's signed claim, never from what the container
    says of itself.

    Raises:
        ProbeError: `PROBE_GPUS` when a GPU inside is not among those that the miner claims.
    """
    names = {(gpu.uuid, gpu.model, gpu.memory_mib) for gpu in claimed}
    gpus = await asyncio.to_thread(inside.visible_gpus, session)
    for gpu in gpus:
        if (gpu.uuid, gpu.model, gpu.memory_mib) not in names:
            raise ProbeError(Code.PROBE_GPUS, f"a {gpu.model} is inside that was never claimed")
    return require(await prove_inside(session, gpus, hotkey=hotkey))


class ValidatorProbe:
    """A rental probe in the validator's terms: a verdict for the evidence log.

    Args:
        dendrite: signs with the validator's hotkey.
        netuid: subnet.
    """

    def __init__(self, dendrite: Dendrite, netuid: int) -> None:
        self._dendrite = dendrite
        self._netuid = netuid

    async def rent(self, peer: Peer, deadline_s: float) -> ProbeVerdict:
        """Probe one miner.

        Raises:
            ComputeError: `PEER_LATE` when the deadline passed before the end; what was leased is
                given back all the same, and ends by itself at the latest.
        """
        plan = ProbePlan(duration_s=max(30, int(deadline_s)), prove=prove)
        probe = RentalProbe(
            self._dendrite, hotkey=self._dendrite.hotkey, netuid=self._netuid, plan=plan
        )
        try:
            async with asyncio.timeout(deadline_s):
                report = await probe.run(peer)
        except TimeoutError as error:
            raise ComputeError(Code.PEER_LATE, f"no end within {deadline_s:.0f} s") from error
        return ProbeVerdict(
            _judgement(report),
            tuple(
                CheckEntry(
                    name=check.name,
                    passed=check.outcome in (Outcome.PASS, Outcome.WARN),
                    detail=f"{check.code} {check.reason}".strip()[:DETAIL],
                    ms=round(check.seconds * 1000),
                )
                for check in report.checks
                if check.outcome is not Outcome.INCONCLUSIVE
            ),
            ready_ms=round(1000 * sum(c.seconds for c in report.checks if c.name in _READY)),
        )


def _judgement(report: ProbeReport) -> Judgement:
    """What a report says of the miner: its first failure; else why nothing was learnt."""
    bad = report.first(Outcome.FAIL)
    if bad is not None:
        detail = f"{bad.name}: {bad.reason}"[:DETAIL]
        known = judge(ComputeError(Code.of(bad.code)))
        if Code.of(bad.code) in (Code.NO_CAPACITY, Code.BUSY):  # the test slot is taken: no fault
            return failed(Reason.BUSY, detail)
        reason = known.reason if known.reason is not Reason.OUR_FAULT else Reason.PROBE_FAILED
        return failed(reason, detail)
    unclear = report.first(Outcome.INCONCLUSIVE)
    if unclear is not None:
        return judge_refusal(Code.of(unclear.code), f"{unclear.name}: {unclear.reason}"[:DETAIL])
    return PASSED
