"""Probes the health of miners: leases, logs in, checks, proves, releases, and sees it gone.

Run `python neurons/miner_checker.py --help` for its settings; `--json` prints JSON.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compute.cli.checking import STDOUT, check
from compute.cli.neuron import run_neuron
from compute.settings.renter import CheckerSettings

JSON = ["--json_file", STDOUT]

if __name__ == "__main__":
    argv = [part for given in sys.argv[1:] for part in (JSON if given == "--json" else [given])]
    run_neuron("miner_checker", CheckerSettings, check, argv)
