"""Xid errors as the NVIDIA driver reports them: kept by a thread that waits for its events."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

WAIT_MS = 1000


class XidWatch:
    """Remembers the last Xid error of each GPU; silent where the driver has no events.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, float]] = {}
        self._started = False

    @property
    def last(self) -> Mapping[str, tuple[int, float]]:
        """UUID to the last error and when it came."""
        with self._lock:
            return dict(self._last)

    def start(self) -> None:
        """Begin to listen, once; the library has to be initialised for as long."""
        with self._lock:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._listen, name="gpu-xid", daemon=True).start()

    def _listen(self) -> None:
        try:
            pynvml.nvmlInit()  # stays until the process ends: the events need it
            events = pynvml.nvmlEventSetCreate()
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                pynvml.nvmlDeviceRegisterEvents(
                    handle, pynvml.nvmlEventTypeXidCriticalError, events
                )
        except pynvml.NVMLError:
            return
        while self._next(events):
            pass

    def _next(self, events: Any) -> bool:
        try:
            event = pynvml.nvmlEventSetWait_v2(events, WAIT_MS)
        except pynvml.NVMLError_Timeout:
            return True
        except pynvml.NVMLError:
            return False
        uuid = pynvml.nvmlDeviceGetUUID(event.device)
        name = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
        with self._lock:
            self._last[name] = (int(event.eventData), self._clock())
        return True
