"""Serves an ASGI application on a socket: uvicorn's HTTP without its process management.

Several servers live in one event loop; none of them touches signal handlers.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

from uvicorn.config import Config

from compute.errors import Code, UsageError
from compute.protocol.guard import Doorkeeper, GuardedConnection, Refusal
from compute.protocol.handshake import TlsListener
from compute.protocol.limits import Limits

AsgiApp = Callable[..., Awaitable[None]]
_BACKLOG = 1024


class Server:
    """A listening socket and its connections.

    Args:
        app: ASGI application.
        limits: of connections, heads and bodies.
        refusal: writes an answer to what is not HTTP.
        tls: context of the server side; None speaks plain HTTP.
    """

    def __init__(
        self, app: AsgiApp, limits: Limits, refusal: Refusal, tls: ssl.SSLContext | None = None
    ) -> None:
        self._door = Doorkeeper(limits, refusal)
        self._tls = tls
        self._config = Config(
            app,
            http=GuardedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        self._server: asyncio.Server | TlsListener | None = None
        self.port = 0

    @property
    def connections(self) -> int:
        """Open connections, those whose TLS does not stand yet included."""
        return self._door.inside

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port, which is the system's choice for port 0.

        Raises:
            UsageError: `PORT_TAKEN`, or the address is not this machine's.
        """
        sock = _bind(host, port)
        loop = asyncio.get_running_loop()
        self.port = int(sock.getsockname()[1])

        def make(counted: str | None = None) -> GuardedConnection:
            return GuardedConnection(self._config, self._door, loop, counted)

        self._server = (
            await loop.create_server(make, sock=sock, backlog=_BACKLOG)
            if self._tls is None
            else TlsListener(sock, self._door, self._tls, make)
        )
        return self.port

    async def stop(self, grace_s: float) -> None:
        """Stop listening, let running answers finish for so long, then cut what is left."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._door.state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._door.empty.wait()
        for connection in list(self._door.state.connections):
            connection.transport.abort()
        tasks = list(self._door.state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sends small packets at once only where it says TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port}", code=Code.PORT_TAKEN) from error
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            hint="check --axon.host and --axon.port",
        ) from error
    sock.setblocking(False)  # noqa: FBT003 - the standard library has it so
    return sock
