"""Listens for TLS connections that are counted from their first byte.

The event loop's own server tells of a connection only when its handshake is over: whoever opens
thousands and shakes no hand would stay below every limit. So connections are accepted here, counted
at the door, and given to the loop one by one.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from compute.protocol.guard import Doorkeeper, GuardedConnection

_SHORT_OF_FILES_S = 0.1  # when no file is left, accepting at once again would only burn time


class TlsListener:
    """A listening socket whose connections speak TLS.

    Args:
        sock: listens, does not block; closed with this.
        door: counts connections, handshakes included.
        context: of the server side.
        make: makes the protocol of a connection that is counted under an address already.
    """

    def __init__(
        self,
        sock: socket.socket,
        door: Doorkeeper,
        context: ssl.SSLContext,
        make: Callable[[str], GuardedConnection],
    ) -> None:
        self._sock = sock
        self._door = door
        self._context = context
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept nobody any more; who is in stays."""
        self._accepting.cancel()
        self._accepting.add_done_callback(lambda _: self._sock.close())

    async def _accept(self) -> None:
        while True:
            try:
                connection, peer = await self._loop.sock_accept(self._sock)
            except OSError:
                await asyncio.sleep(_SHORT_OF_FILES_S)
                continue
            connection.setblocking(False)  # noqa: FBT003 - the standard library has it so
            if not self._door.enter(peer[0]):
                connection.close()
                continue
            shaking = self._loop.create_task(self._shake(connection, peer[0]))
            self._door.state.tasks.add(shaking)
            shaking.add_done_callback(self._door.state.tasks.discard)

    async def _shake(self, connection: socket.socket, address: str) -> None:
        protocol = self._make(address)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._door.limits.head_s,
            )
        except OSError:  # it broke off, took too long, or spoke no TLS: nobody to tell
            connection.close()
        finally:
            if protocol.transport is None:  # it was never made, and will not leave by itself
                self._door.leave(address)
