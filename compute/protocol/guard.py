"""The HTTP server's connection, with the limits that uvicorn does not have.

uvicorn's parser and request cycle are used as they are. What is added: a time limit for the head
and for the body, a size limit for the head, limits on open connections in all and for each address,
an end to connections that neither send nor read, and an answer of our own form to what is not HTTP.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from compute.errors import AdmissionError, Code
from compute.protocol.limits import MIB, Limits

_QUIET = logging.getLogger("compute.axon.http")
_QUIET.setLevel(logging.ERROR)  # strangers who send rubbish fill no log

_LARGE_HEAD = "the request's headers are too large"

Refusal = Callable[[AdmissionError], bytes]
"""A whole HTTP answer for an error that is met before a request is understood."""


class Doorkeeper:
    """What all connections of one server share.

    Args:
        limits: see `compute.protocol.limits`.
        refusal: writes an answer.
    """

    def __init__(self, limits: Limits, refusal: Refusal) -> None:
        self.limits = limits
        self.refusal = refusal
        self.state = ServerState()
        self._by_address: Counter[str] = Counter()
        self.inside = 0
        self.empty = asyncio.Event()  # no connection is open
        self.empty.set()

    def enter(self, address: str) -> bool:
        """Count a connection in; False when there are too many."""
        crowded = self.inside >= self.limits.connections
        if crowded or self._by_address[address] >= self.limits.connections_per_address:
            return False
        self.inside += 1
        self._by_address[address] += 1
        self.empty.clear()
        return True

    def leave(self, address: str) -> None:
        """Count a connection out."""
        self.inside -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]
        if not self.inside:
            self.empty.set()


class GuardedConnection(HttpToolsProtocol):
    """One connection. Exactly one timer runs: for the head, the body, idleness or lingering.

    Args:
        config: uvicorn's, with the application.
        door: counts connections.
        loop: the event loop.
        counted: address under which it went through the door already; None: it has yet to.
    """

    def __init__(
        self,
        config: Config,
        door: Doorkeeper,
        loop: asyncio.AbstractEventLoop,
        counted: str | None = None,
    ) -> None:
        super().__init__(config, door.state, {}, loop)
        self.logger = _QUIET
        self._door = door
        self._timer: asyncio.TimerHandle | None = None
        self._address = counted  # set while counted
        self._reading_head = False
        self._reading_body = False
        self._head_bytes = 0  # of whole lines
        self._pending_bytes = 0  # of a head that is not whole; the parser gathers them
        self._body_bytes = 0
        self._framing_bytes = 0  # of a body: chunk sizes, trailers
        self._spill = 0  # bytes of a body that nobody wants any more
        self._fault: AdmissionError | None = None

    # --- connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and give its first head a deadline."""
        super().connection_made(transport)
        if self._address is None:
            address = self.client[0] if self.client else ""
            if not self._door.enter(address):
                transport.abort()
                return
            self._address = address
        self._deadline(self._door.limits.head_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection has used up its patience."""
        if self.transport.is_closing():
            return
        if self._reading_body and self.cycle is not None and self.cycle.response_complete:
            self._spill += len(data)
        body_bytes = self._body_bytes
        super().data_received(data)
        if self._reading_head:
            self._pending_bytes += len(data)
            if (
                self._pending_bytes > self._door.limits.head_bytes
                and not self.transport.is_closing()
            ):
                self._refuse(AdmissionError(Code.TOO_LARGE, _LARGE_HEAD))
        elif self._reading_body:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if max(self._framing_bytes, self._spill) > MIB:
                self.transport.abort()

    # --- one request ---

    def on_message_begin(self) -> None:
        """A new request's head begins."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._halt(Code.MALFORMED, "pipelining is not offered")
        self._reading_head = True
        self._head_bytes = self._pending_bytes = 0
        self._deadline(self._door.limits.head_s, self._too_slow)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._weigh(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._weigh(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _weigh(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._door.limits.head_bytes:
            self._halt(Code.TOO_LARGE, _LARGE_HEAD)

    def _halt(self, code: Code, detail: str) -> None:
        """Stop the parser; `send_400_response` follows."""
        self._fault = AdmissionError(code, detail)
        raise self._fault

    def on_headers_complete(self) -> None:
        """The head is whole: the body gets its deadline."""
        self._reading_head = False
        self._reading_body = True
        self._spill = self._body_bytes = self._framing_bytes = 0
        limits = self._door.limits
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        size = int(length) if length.isdigit() and len(length) < 10 else 0  # noqa: PLR2004
        self._deadline(limits.body_s + size / limits.body_rate, self._too_slow)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole: now it is our turn."""
        self._reading_body = False
        if self.cycle is not None and self.cycle.response_complete:
            self._deadline(self._door.limits.idle_s, self._give_up)
        else:
            self._deadline(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Our answer is written: the next request, or the rest of this one's body, may come."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # ours is the only timer
        limits = self._door.limits
        if self._reading_body and not self.transport.is_closing():
            self._deadline(limits.linger_s, self._give_up)
        else:  # what is not flushed yet gets its own time
            unsent = self.transport.get_write_buffer_size()
            self._deadline(limits.idle_s + unsent / limits.body_rate, self._give_up)

    # --- ends ---

    def _deadline(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and then is not None:
            self._timer = self.loop.call_later(seconds, then)

    def _too_slow(self) -> None:
        if self._reading_head or self._reading_body:
            self._refuse(AdmissionError(Code.MALFORMED, "the request took too long to arrive"))
        else:
            self.transport.abort()  # it never said anything

    def _give_up(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in the form of every other error."""
        del msg
        self._refuse(self._fault or AdmissionError(Code.MALFORMED, "this is not HTTP/1.1"))

    def _refuse(self, error: AdmissionError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:  # an answer inside an answer would be neither
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(self._door.refusal(error))
        self.transport.close()
        self._deadline(self._door.limits.linger_s, self.transport.abort)
