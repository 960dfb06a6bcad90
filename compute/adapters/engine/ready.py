"""When a container is ready for a login: its SSH server has shown its banner."""

import contextlib
import socket
import time

from compute.errors import Code, EngineError

BANNER = b"SSH-2.0-"
_STEP_S = 0.005
_LONGEST_STEP_S = 0.1
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - dialled, not bound


def wait_for_banner(address: str, port: int, timeout_s: float) -> None:
    """Dial until the published port shows an SSH banner.

    The engine's port proxy accepts connections before the server listens, so that a connection
    alone means nothing.

    Raises:
        EngineError: `ENGINE_FAILED` when none was seen in time.
    """
    until = time.monotonic() + timeout_s
    step = _STEP_S
    while time.monotonic() < until:
        if _shows_banner(_ANY.get(address, address), port, until):
            return
        time.sleep(step)
        step = min(step * 1.3, _LONGEST_STEP_S)
    raise EngineError(Code.ENGINE_FAILED, f"no SSH banner within {timeout_s:.0f} s")


def _shows_banner(address: str, port: int, until: float) -> bool:
    left = max(0.01, min(2.0, until - time.monotonic()))
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address, port), timeout=left) as connection,
    ):
        return connection.recv(len(BANNER)) == BANNER
    return False
