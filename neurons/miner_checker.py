"""Probes the health of miners: leases, logs in, checks, proves, releases, and sees it gone.

Run `python neurons/miner_checker.py --help` for its settings.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compute.cli.neuron import run_neuron
from compute.cli.output import Output, table
from compute.cli.proving import prove
from compute.domain.metagraph import Neuron
from compute.probes.checker import chosen, exit_code, probe_all
from compute.probes.rental import ProbePlan, RentalProbe
from compute.probes.report import Check, Outcome, ProbeReport
from compute.renter.session import RenterSession, open_session
from compute.settings.renter import CheckerSettings


async def main(settings: CheckerSettings, stop: asyncio.Event) -> int:
    """Probe once, or every so many seconds until told to stop."""
    async with open_session(settings) as session:
        plan = ProbePlan(duration_s=settings.duration_s, prove=prove if settings.proof else None)
        probe = RentalProbe(
            session.dendrite, hotkey=session.hotkey, netuid=settings.netuid, plan=plan
        )
        while True:
            reports = await _round(settings, session, probe, stop)
            _show(settings, reports)
            if not settings.every or stop.is_set():
                return exit_code(reports)
            try:
                await asyncio.wait_for(stop.wait(), settings.every)
            except TimeoutError:
                continue
            return exit_code(reports)


async def _round(
    settings: CheckerSettings, session: RenterSession, probe: RentalProbe, stop: asyncio.Event
) -> list[ProbeReport]:
    """Probe every chosen miner; a stop cuts the round short, leases being given back first."""
    output = Output()

    def progress(neuron: Neuron, check: Check) -> None:
        output.progress(f"UID {neuron.uid}  {check.name:<10} {check.outcome:<12} {check.reason}")

    metagraph = await session.chain.metagraph()
    neurons = chosen(metagraph, settings.miners)
    work = asyncio.ensure_future(probe_all(probe, neurons, settings.parallel, progress))
    ended = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not work.done():
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return []
    return work.result()


def _show(settings: CheckerSettings, reports: list[ProbeReport]) -> None:
    plain = [report.model_dump(mode="json") for report in reports]
    if settings.json_file == "-":
        print(json.dumps(plain, indent=2))  # noqa: T201 - data goes to standard output
        return
    if settings.json_file:
        Path(settings.json_file).write_text(json.dumps(plain, indent=2) + "\n")
    rows = table(">UID", "MINER", "CHECK", "OUTCOME", ">S", "REASON", "WHAT TO DO")
    for report in reports:
        for check in report.checks:
            bad = check.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.WARN)
            rows.add_row(
                str(report.uid),
                report.hotkey[:8] + "…",
                check.name,
                str(check.outcome),
                f"{check.seconds:.2f}",
                check.reason,
                check.remedy if bad else "",
            )
    Output().data(plain, rows)


if __name__ == "__main__":
    run_neuron("miner_checker", CheckerSettings, main)
