"""A TCP relay on loopback that counts what passes: how many bytes one request costs."""

import contextlib
import socket
import threading
from collections.abc import Iterator

_PIECE = 65_536


class Relay:
    """Counts bytes in both directions, and requests by their first word.

    Args:
        target: port that is relayed to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests = self.received = self.sent = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        """Relay while the context lasts."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for source, sink, up in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=self._pump, args=(source, sink), kwargs={"up": up}, daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, *, up: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                with self._lock:
                    if up:
                        self.requests += piece.count(b"POST /")
                        self.sent += len(piece)
                    else:
                        self.received += len(piece)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
