"""Probes the health of miners: leases, logs in, checks, proves, releases, and sees it gone.

Run `python neurons/miner_checker.py --help` for its settings; `--json` prints JSON.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compute.cli.checking import STDOUT, check
from compute.cli.neuron import run_neuron
from compute.settings.renter import CheckerSettings
from compute.telemetry.supervisor import supervised

JSON = ["--json_file", STDOUT]


async def main(settings: CheckerSettings, stop: asyncio.Event) -> int:
    """Probe once, or every so many seconds until told to stop."""
    async with supervised(stop) as supervisor:
        supervisor.ready("probing once" if not settings.every else f"every {settings.every:g} s")
        return await check(settings, stop)


if __name__ == "__main__":
    argv = [part for given in sys.argv[1:] for part in (JSON if given == "--json" else [given])]
    run_neuron("miner_checker", CheckerSettings, main, argv)
