"""Crashes at will: a fuse in front of an object blows before or after one of its calls.

A blown fuse stays blown: whatever the crashed code still tries, in `except` or `finally`, reaches
neither the engine nor the ledger, just as after a SIGKILL.
"""

import threading
from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """The process is gone, as far as the code under test can tell."""


class Fuse:
    """Counts the points that fused objects pass, and blows at one of them.

    Args:
        blow_at: number of the point, from 1; 0 never.
        blow: what happens there; raises `Crash` unless told otherwise.

    Attributes:
        passed: names of the points passed, such as `before create`.
    """

    def __init__(self, blow_at: int = 0, blow: Callable[[], None] | None = None) -> None:
        self.blow_at = blow_at
        self.blown = False
        self.passed: list[str] = []
        self._blow = blow
        self._lock = threading.Lock()

    def point(self, name: str) -> None:
        """Pass a point, or blow at it."""
        with self._lock:
            if self.blown:
                raise Crash(name)
            self.passed.append(name)
            if len(self.passed) != self.blow_at:
                return
            self.blown = True
        if self._blow is not None:
            self._blow()
        raise Crash(name)


class Fused:
    """An object whose every call passes the fuse before and after."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        """The inner object's attribute; methods are fused."""
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.point(f"before {name}")
            answer = found(*args, **kwargs)
            self._fuse.point(f"after {name}")
            return answer

        return call
