"""What a miner does again and again, each in a thread of its own: none waits for another."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from compute.errors import ComputeError
from compute.telemetry.logs import get

_log = get("miner.rounds")


@dataclass(frozen=True, slots=True)
class Round:
    """One of them: its name, its pause in seconds, and what it does."""

    name: str
    every_s: float
    work: Callable[[], object]


class Rounds:
    """Runs rounds until told to stop; whatever goes wrong in one is tried again."""

    def __init__(self, *rounds: Round) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"round-{one.name}", daemon=True)
            for one in rounds
        ]

    def start(self) -> None:
        """Begin; the first time comes after the first pause."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Begin no more, and wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout_s)

    def _run(self, one: Round) -> None:
        while not self._stop.wait(one.every_s):
            try:
                one.work()
            except ComputeError as failure:
                _log.error("a round failed", round=one.name, why=str(failure))
            except Exception:  # noqa: BLE001 - a thread's root
                _log.exception("a round failed", round=one.name)
