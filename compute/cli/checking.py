"""The checker as a program: rounds of rental probes, shown as a table, as JSON and as metrics."""

import asyncio
import json
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from compute.cli.output import Output, table
from compute.cli.proving import prove
from compute.domain.metagraph import Neuron
from compute.errors import Code, ComputeError
from compute.probes.checker import chosen, exit_code, probe_all
from compute.probes.clock import skew_s
from compute.probes.metrics import ProbeMetrics
from compute.probes.rental import ProbePlan, RentalProbe
from compute.probes.report import Check, Outcome, ProbeReport
from compute.renter.session import RenterSession, open_session
from compute.settings.renter import CheckerSettings
from compute.telemetry.logs import get

TOLD = frozenset({Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.WARN})
STDOUT = "-"
_log = get("checker")


async def check(settings: CheckerSettings, stop: asyncio.Event) -> int:
    """Probe once, or every so many seconds until told to stop; the newest round's exit code.

    Raises:
        ComputeError: what kept the only round from being made.
    """
    metrics = ProbeMetrics(CollectorRegistry())
    if settings.metrics_port:
        metrics.serve(settings.metrics_host, settings.metrics_port)
    async with open_session(settings) as session:
        checking = Checking(settings, session)
        while True:
            code = await _round(checking, metrics, stop)
            if not settings.every or stop.is_set():
                return code
            try:
                await asyncio.wait_for(stop.wait(), settings.every)
            except TimeoutError:
                continue
            return code


async def _round(checking: "Checking", metrics: ProbeMetrics, stop: asyncio.Event) -> int:
    """Make a round and show it; a service outlives a round that could not be made."""
    settings = checking.settings
    try:
        reports = await checking.round(stop)
    except ComputeError as error:
        if not settings.every:
            raise
        _log.warning("no round was made", why=str(error), code=error.code.spec.slug)
        return Code.PROBE_INCONCLUSIVE.spec.exit_code
    checking.show(reports)
    metrics.show(reports, time.time())
    if settings.metrics_file:
        metrics.write(Path(settings.metrics_file))
    return exit_code(reports)


class Checking:
    """Probes miners by one session.

    Args:
        settings: whom, how and how many at once.
        session: of the checker's own hotkey.
    """

    def __init__(self, settings: CheckerSettings, session: RenterSession) -> None:
        self.settings = settings
        self._session = session
        self._output = Output()
        self._probe = RentalProbe(
            session.dendrite,
            hotkey=session.hotkey,
            netuid=settings.netuid,
            plan=ProbePlan(
                duration_s=settings.duration_s,
                ssh_timeout_s=settings.ssh_timeout_s,
                prove=prove if settings.proof else None,
                skew=lambda: skew_s(settings.subtensor.network),
            ),
        )

    async def round(self, stop: asyncio.Event) -> list[ProbeReport]:
        """Probe every chosen miner; a stop cuts it short, leases being given back first.

        Raises:
            ChainError: when the chain cannot be asked who the miners are.
            UsageError: when a chosen miner is unknown.
        """

        def progress(neuron: Neuron, made: Check) -> None:
            self._output.progress(
                f"UID {neuron.uid}  {made.name:<10} {made.outcome:<12} {made.reason}"
            )

        metagraph = await self._session.chain.metagraph()
        neurons = chosen(metagraph, self.settings.miners)
        work = asyncio.ensure_future(
            probe_all(self._probe, neurons, self.settings.parallel, progress)
        )
        ended = asyncio.ensure_future(stop.wait())
        await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return []
        return work.result()

    def show(self, reports: list[ProbeReport]) -> None:
        """Print a round: as a table, or as JSON (one line a round where there are several)."""
        settings = self.settings
        plain = [report.model_dump(mode="json") for report in reports]
        if settings.json_file == STDOUT:
            print(json.dumps(plain, indent=None if settings.every else 2), flush=True)  # noqa: T201
            return
        if settings.json_file:
            Path(settings.json_file).write_text(json.dumps(plain, indent=2) + "\n")
        rows = table(">UID", "MINER", "CHECK", "OUTCOME", ">S", "REASON", "WHAT TO DO")
        for report in reports:
            for made in report.checks:
                rows.add_row(
                    str(report.uid),
                    report.hotkey[:8] + "…",
                    made.name,
                    str(made.outcome),
                    f"{made.seconds:.2f}",
                    made.reason,
                    made.remedy if made.outcome in TOLD else "",
                )
        self._output.data(plain, rows)
