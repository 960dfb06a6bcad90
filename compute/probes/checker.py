"""Probes many miners, once or again and again, and says how it went in one exit code."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from compute.domain.metagraph import Metagraph, Neuron
from compute.errors import Code, ComputeError
from compute.probes.rental import RentalProbe
from compute.probes.report import Check, Outcome, ProbeReport
from compute.renter.session import find_miner, peer_of

Progress = Callable[[Neuron, Check], None]


def chosen(metagraph: Metagraph, names: Sequence[str]) -> list[Neuron]:
    """The named neurons, or everyone who announces an axon.

    Raises:
        UsageError: when a name is unknown.
    """
    if names:
        return [find_miner(metagraph, name) for name in names]
    return [neuron for neuron in metagraph.neurons if neuron.axon]


async def probe_all(
    probe: RentalProbe, neurons: Iterable[Neuron], parallel: int, progress: Progress
) -> list[ProbeReport]:
    """Probe miners, so many at once; a report for each, in their order."""
    gate = asyncio.Semaphore(parallel)

    async def one(neuron: Neuron) -> ProbeReport:
        try:
            peer = peer_of(neuron)
        except ComputeError as error:
            return unreachable(neuron, error)
        async with gate:
            return await probe.run(peer, neuron.uid, lambda check: progress(neuron, check))

    return list(await asyncio.gather(*(one(neuron) for neuron in neurons)))


def unreachable(neuron: Neuron, error: ComputeError) -> ProbeReport:
    """The report of a miner that cannot even be asked."""
    check = Check(
        name="address",
        outcome=Outcome.FAIL,
        reason=str(error),
        code=error.code.spec.slug,
        remedy=error.hint,
    )
    return ProbeReport(
        uid=neuron.uid, hotkey=neuron.hotkey, address=neuron.axon or "", checks=(check,)
    )


def exit_code(reports: Sequence[ProbeReport]) -> int:
    """0 when all is well; else the exit code of what failed first, by the error catalogue.

    Different failures together give `probe_failed`; only inconclusive ones, `probe_inconclusive`.
    """
    failed = {
        check.code for report in reports for check in report.checks if check.outcome is Outcome.FAIL
    }
    if len(failed) == 1:
        code = Code.of(failed.pop())
        return (Code.PROBE_FAILED if code is Code.INTERNAL else code).spec.exit_code
    if failed:
        return Code.PROBE_FAILED.spec.exit_code
    if any(report.outcome is Outcome.INCONCLUSIVE for report in reports):
        return Code.PROBE_INCONCLUSIVE.spec.exit_code
    return 0
