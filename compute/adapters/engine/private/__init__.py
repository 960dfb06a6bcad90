"""A container engine of our own, for machines where none runs.

The scripts and the tests need a real engine; most machines that they meet have none. This
starts one beside everything else on the machine: its own containerd, socket, data, bridge,
addresses and control group, all below a state folder, and takes all of it away at the end.
Only the standard library is used, so that stopping works when nothing else does.
"""

from compute.adapters.engine.private.discovery import (
    FoundEngine,
    Origin,
    find_existing,
    hold_engine,
)
from compute.adapters.engine.private.engine import PrivateEngine, Started
from compute.adapters.engine.private.layout import Layout

__all__ = [
    "FoundEngine",
    "Layout",
    "Origin",
    "PrivateEngine",
    "Started",
    "find_existing",
    "hold_engine",
]
