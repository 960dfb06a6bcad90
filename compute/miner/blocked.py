"""Host ports that something other than a lease was found to listen on."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from compute.domain.capacity import Obstacles

FORGET_S = 600.0


class BlockedPorts:
    """Remembers ports for a while: whatever had them may be gone later."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[int, float] = {}
        self._lock = threading.Lock()

    def add(self, ports: Iterable[int]) -> None:
        """Avoid these for a while."""
        with self._lock:
            until = self._monotonic() + FORGET_S
            self._until.update(dict.fromkeys(ports, until))

    def obstacles(self, gpus: Mapping[str, str] | None = None) -> Obstacles:
        """What placement has to avoid now."""
        with self._lock:
            now = self._monotonic()
            self._until = {port: until for port, until in self._until.items() if until > now}
            return Obstacles(gpus=dict(gpus or {}), ports=frozenset(self._until))
