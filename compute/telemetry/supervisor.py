"""Tells the service manager how a neuron is: ready, what it does, alive, stopping.

The protocol of `sd_notify(3)`: a datagram to the socket that `NOTIFY_SOCKET` names. Without that
variable nothing is sent. A unit with `Type=notify` counts as started at `READY=1`; with
`WatchdogSec=` it is restarted when `WATCHDOG=1` stays away, which is sent by the event loop itself:
a loop that hangs sends nothing.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

from compute.telemetry.logs import get

MICROSECONDS = 1_000_000
_LONGEST = 500  # characters of a status: a datagram has an end
_BEATS = 3  # keepalives within the time that the manager allows, as sd_watchdog_enabled(3) advises
_log = get("supervisor")


class Supervisor:
    """The service manager of this process; nobody, when the address is empty.

    Args:
        address: of its socket: a path, or a name in the abstract namespace after `@`.
        watchdog_s: seconds within which it wants to hear of us; 0 when it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Supervisor":
        """The manager that an environment names, for the process with this id."""
        try:
            watchdog_s = max(0, int(environ.get("WATCHDOG_USEC", "0"))) / MICROSECONDS
        except ValueError:
            watchdog_s = 0.0
        meant = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s if meant else 0.0)

    def ready(self, status: str) -> None:
        """The neuron works; said once or more."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """What the neuron does, in one line for `systemctl status`."""
        self._tell(f"STATUS={_line(status)}")

    def stopping(self) -> None:
        """The neuron was told to stop."""
        self._tell("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """The neuron's event loop turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        """Send one datagram; a manager that does not take it must not harm the neuron."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
                link.settimeout(0)
                link.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            _log.warning("the service manager was not told", why=error.strerror or str(error))


@contextlib.asynccontextmanager
async def supervised(
    stop: asyncio.Event, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Supervisor]:
    """Keep the service manager informed while the context lasts.

    Args:
        stop: set when the neuron is told to stop.
        environ: names the manager; the process's own when None.
    """
    supervisor = Supervisor.of(os.environ if environ is None else environ, os.getpid())
    tasks = [asyncio.create_task(_tell_stop(supervisor, stop), name="supervisor-stop")]
    if supervisor.watchdog_s:
        tasks.append(asyncio.create_task(_keep_alive(supervisor), name="supervisor-watchdog"))
    try:
        yield supervisor
    finally:
        for task in tasks:
            task.cancel()


async def _tell_stop(supervisor: Supervisor, stop: asyncio.Event) -> None:
    await stop.wait()
    supervisor.stopping()


async def _keep_alive(supervisor: Supervisor) -> None:
    while True:
        supervisor.alive()
        await asyncio.sleep(supervisor.watchdog_s / _BEATS)


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
