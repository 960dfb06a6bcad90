"""Print the roots of a run, for comparison with another implementation.

Run as `python -m compute.proof.roots --slot HEX --sub HEX --n N --m M --ns NS --kappa HEX`.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from compute.proof.engine import Engine, EngineUnfit
from compute.proof.engines import DEVICES, opener
from compute.proof.holder import Holder
from compute.proof.sizes import Sizes


def roots(engine: Engine, slot: bytes, sub: bytes, kappa: bytes, sizes: Sizes) -> dict[str, str]:
    """Run the chain and one sweep; return both roots in hex and the path that computed them."""
    engine.allocate(sizes)
    holder = Holder(engine, sizes)
    root_a = holder.run(slot, sub)
    return {"root_a": root_a.hex(), "root_b": holder.sweep(kappa).hex(), "path": engine.path}


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        sizes = Sizes(options.n, options.m, options.ns)
        engine = opener(options.device)(0)
        found = roots(engine, options.slot, options.sub, options.kappa, sizes)
    except (ValueError, EngineUnfit) as error:
        parser.error(str(error))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compute.proof.roots", description=__doc__)
    for name in ("slot", "sub", "kappa"):
        parser.add_argument(f"--{name}", type=bytes.fromhex, required=True, metavar="HEX")
    parser.add_argument("--n", type=int, required=True, help="rows of a block")
    parser.add_argument("--m", type=int, required=True, help="blocks of the history")
    parser.add_argument("--ns", type=int, required=True, help="columns of the sweep")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="what to compute on")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
