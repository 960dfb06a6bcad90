"""The rate at which a lease uploads: a token bucket inside its own network namespace.

The tenant has no right to administer his network, so he cannot remove it.
"""

import subprocess

from compute.errors import Code, EngineError

TIMEOUT_S = 15
LATENCY = "200ms"  # how long a packet may wait before it is dropped
# A tenth of a second's worth, and at least two of the largest segments that off-loading makes.
_LEAST_BURST_BYTES = 128 * 1024


def limit_egress(pid: int, mbit: int) -> None:
    """Limit the upload rate of the network namespace that a process lives in.

    Args:
        pid: of a process in it, as this host counts.
        mbit: Mbit/s; replaces an earlier limit.

    Raises:
        EngineError: `HOST_UNFIT` where this process may not, or the host lacks `tc`.
    """
    burst = max(_LEAST_BURST_BYTES, mbit * 1_000_000 // 8 // 10)
    inside = ("nsenter", f"--net=/proc/{pid}/ns/net")
    change = ("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf")
    rate = ("rate", f"{mbit}mbit", "burst", str(burst), "latency", LATENCY)
    try:
        subprocess.run(
            (*inside, *change, *rate), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(str(error.stderr).split())[:200]
        raise EngineError(Code.HOST_UNFIT, f"the upload rate cannot be limited: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(Code.HOST_UNFIT, "tc (iproute2) does not run") from error
