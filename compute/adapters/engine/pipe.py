"""Standard input and output of an attached container, over the engine's hijacked connection.

The engine frames the output: one byte stream number, three zero bytes, the length as four bytes
big-endian, then the bytes. One poll loop does both directions, so that neither a writer nor a
reader that is slow can make the other wait for ever.
"""

import contextlib
import select
import socket
import struct
import threading
import time

from compute.adapters.engine.faults import scrub
from compute.errors import Code, EngineError

STDOUT = 1
HEADER = struct.Struct(">BxxxL")
CHUNK = 256 * 1024
MOST_BUFFERED = 16 * 1024 * 1024  # twice the largest frame: more is not read before it is asked for
MOST_COMPLAINT = 4096


class Demultiplexer:
    """Takes the engine's frames apart: output is kept, of the error stream its end."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.complaint = bytearray()
        self._raw = bytearray()
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take in bytes as they came."""
        self._raw += data
        while True:
            if not self._left:
                if len(self._raw) < HEADER.size:
                    return
                self._stream, self._left = HEADER.unpack_from(self._raw)
                del self._raw[: HEADER.size]
            part = self._raw[: self._left]
            if not part:
                return
            del self._raw[: len(part)]
            self._left -= len(part)
            self._keep(part)

    def _keep(self, part: bytearray) -> None:
        if self._stream == STDOUT:
            self.output += part
        else:
            self.complaint = (self.complaint + part)[-MOST_COMPLAINT:]


class AttachedPipe:
    """One attached client; every method may be called from any thread, one at a time works."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._frames = Demultiplexer()
        self._ended = False
        self._lock = threading.Lock()

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it, taking in output meanwhile."""
        until = time.monotonic() + timeout_s
        left = memoryview(data)
        with self._lock:
            while left:
                if self._ended:
                    raise self._failure("it ended early")
                readable, writable = self._wait(until, write=True)
                if readable:
                    self._take_in()
                if writable:
                    left = left[self._put_out(left) :]

    def receive(self, count: int, timeout_s: float) -> bytes:
        """Read exactly so many bytes."""
        until = time.monotonic() + timeout_s
        with self._lock:
            output = self._frames.output
            while len(output) < count:
                if self._ended:
                    raise self._failure("it ended early")
                self._wait(until, write=False)
                self._take_in()
            answer = bytes(output[:count])
            del output[:count]
            return answer

    def close(self) -> None:
        """Let go; a container whose standard input was ours reads its end.

        Whoever waits for it in another thread is told at once that it ended.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # closing alone would wake nobody
        with self._lock:
            self._socket.close()

    def _wait(self, until: float, *, write: bool) -> tuple[bool, bool]:
        read = not self._ended and len(self._frames.output) < MOST_BUFFERED
        left = until - time.monotonic()
        if left > 0 and self._socket.fileno() >= 0:
            poll = select.poll()
            poll.register(self._socket, (select.POLLIN * read) | (select.POLLOUT * write))
            for _, event in poll.poll(left * 1000):
                gone = bool(event & (select.POLLHUP | select.POLLERR))
                return bool(event & select.POLLIN) or gone, bool(event & select.POLLOUT)
        raise self._failure("it did not answer in time")

    def _take_in(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._frames.feed(data)
        else:
            self._ended = True

    def _put_out(self, data: memoryview) -> int:
        try:
            return self._socket.send(data[:CHUNK])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failure("it ended early") from error

    def _failure(self, what: str) -> EngineError:
        said = scrub(bytes(self._frames.complaint).decode(errors="replace"))[-200:]
        return EngineError(Code.PROVER_FAILED, f"{what}; it said: {said}" if said else what)
