"""Writes proof.json: run once, `python -m tests.vectors.make_proof`, when the protocol changes.

The roots come from the reference implementation; the messages, from the product's NumPy path,
after its roots have been compared. READY is left out: it names the device.
"""

import hashlib
import json
from pathlib import Path

from compute.proof import wire
from compute.proof.engine_numpy import NumpyEngine
from compute.proof.holder import Holder
from compute.proof.known_answer import KAPPA, KNOWN, SLOT, SUB
from compute.proof.sizes import Sizes
from compute.proof.wire import Kind, Mode, Opening, Unit
from tests.vectors import reference

CASES = [
    (b"slot", b"sub", Sizes(32, 1, 4), b"kappa"),
    (b"slot", b"sub", Sizes(96, 3, 16), b"kappa"),
    (bytes(32), bytes(32), Sizes(128, 2, 64), bytes(32)),
    (SLOT, SUB, KNOWN.sizes, KAPPA),
    (b"\xff" * 32, b"\x80" * 32, Sizes(384, 5, 1024), b"\x7f" * 32),
    (SUB, SLOT, Sizes(1152, 3, 128), KAPPA),
]


def _messages(holder: Holder, slot: bytes, sub: bytes, kappa: bytes, units: list) -> dict:
    """Return the SHA-256 of each frame of a session of one GPU."""
    sizes = holder.sizes
    frames = {
        "setup": wire.setup([sizes]),
        "start": wire.start(slot, [sub]),
        "root_a": wire.frame(Kind.ROOT_A, 0, holder.run(slot, sub)),
        "sweep": wire.frame(Kind.SWEEP, 0, kappa),
        "root_b": wire.frame(Kind.ROOT_B, 0, holder.sweep(kappa)),
    }
    for name, mode in (("r", Mode.RECOMPUTE), ("f", Mode.FREIVALDS)):
        request = Opening(mode, 0, tuple(Unit(*unit) for unit in units))
        frames[f"open_{name}"] = wire.opening(0, request)
        frames[f"units_{name}"] = wire.frame(Kind.UNITS, 0, holder.open(request))
    return {name: hashlib.sha256(frame).hexdigest() for name, frame in frames.items()}


def _case(slot: bytes, sub: bytes, sizes: Sizes, kappa: bytes) -> dict:
    root_a, root_b = reference.roots(slot, sub, sizes.n, sizes.blocks, sizes.sweep_width, kappa)
    engine = NumpyEngine()
    engine.allocate(sizes)
    holder = Holder(engine, sizes)
    assert (holder.run(slot, sub), holder.sweep(kappa)) == (root_a, root_b)
    units = (
        [[1 + i % (sizes.blocks - 1), i * 37 % sizes.n] for i in range(5)]
        if sizes.challengeable()
        else []
    )
    return {
        "slot": slot.hex(),
        "sub": sub.hex(),
        "n": sizes.n,
        "m": sizes.blocks,
        "ns": sizes.sweep_width,
        "kappa": kappa.hex(),
        "root_a": root_a.hex(),
        "root_b": root_b.hex(),
        "units": units,
        "messages": _messages(holder, slot, sub, kappa, units) if units else {},
    }


if __name__ == "__main__":
    cases = [_case(*case) for case in CASES]
    Path(__file__).with_name("proof.json").write_text(json.dumps(cases, indent=1) + "\n")
