"""Processes that check proofs: started afresh (spawn), replaced when one dies, never left behind.

This module imports no numerics, so that a worker can set their number of threads before they load.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class CheckPool(Executor):
    """A pool of processes that heals.

    Work that was running when a process died fails; later work goes to fresh processes.

    Args:
        processes: how many; 0 takes one for each processor that this process may use.
    """

    def __init__(self, processes: int = 0) -> None:
        self._processes = processes or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run work in a process.

        Raises:
            RuntimeError: after `shutdown`.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is shut down")
            try:
                return self._running().submit(work, *args, **kwargs)
            except BrokenProcessPool:
                self._pool = None
                return self._running().submit(work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; what they were doing is lost."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is None:
            return
        running: dict[int, Any] = getattr(pool, "_processes", None) or {}
        processes = list(running.values())
        pool.shutdown(wait=False, cancel_futures=cancel_futures or not wait)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(2)

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
            )
        return self._pool


def _start_worker() -> None:
    """Prepare a worker: one thread of numerics, no interrupts, and an end with its parent."""
    for name in ONE_THREAD:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(0)
