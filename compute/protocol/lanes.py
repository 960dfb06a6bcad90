"""One lane for each synapse: how many are handled at a time, how many may wait, who works.

A synchronous handler gets a thread pool of its own, so that no slow engine call delays another
synapse or a health check. When a lane is full, callers are told at once when to come back.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

from compute.errors import AdmissionError, Code
from compute.protocol.clock import Clock
from compute.protocol.context import RequestContext
from compute.protocol.synapses import Message

Handler = Callable[[Any, RequestContext], Any]
_SMOOTHING = 0.2  # weight of the newest duration in the running mean
_SHORTEST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


class Lane:
    """Runs one synapse's handler.

    Args:
        name: of the synapse.
        handler: `(request, RequestContext) -> reply`, plain or async.
        workers: handled at a time.
        queue: waiting beyond those.
        timeout_s: longest wait for the handler; a thread that takes longer keeps its worker.
        clock: measures how long handling takes.
    """

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        workers: int,
        queue: int,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self._handler = handler
        self._workers = workers
        self._room = workers + queue
        self._timeout_s = timeout_s
        self._clock = clock
        self._mean_s = 0.0
        self.held = 0  # handled or waiting
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object with async __call__
        )
        self._threads = (
            None if is_async else ThreadPoolExecutor(workers, thread_name_prefix=f"axon-{name}")
        )
        self._turns = asyncio.Semaphore(workers)

    async def run(self, request: Message, context: RequestContext) -> Any:
        """Handle one request.

        Raises:
            AdmissionError: `BUSY` when the lane is full, or the handler took too long.
            ComputeError: the handler's own.
        """
        if self.held >= self._room:
            raise AdmissionError(Code.BUSY, "the queue is full", retry_after_s=self._wait_s())
        self.held += 1
        started = self._clock.monotonic()
        work = asyncio.ensure_future(self._work(request, context))
        work.add_done_callback(lambda _: self._finished(started))
        try:
            async with asyncio.timeout(self._timeout_s):
                # A thread cannot be stopped: it is left to finish, and counts until it has.
                return await (asyncio.shield(work) if self._threads else work)
        except TimeoutError:
            if work.done() and not work.cancelled():
                raise
            work.add_done_callback(_swallow)
            raise AdmissionError(
                Code.BUSY, "the handler took too long", retry_after_s=self._wait_s()
            ) from None

    async def _work(self, request: Message, context: RequestContext) -> Any:
        if self._threads is not None:
            run = copy_context().run
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, run, self._handler, request, context)
        async with self._turns:
            return await cast("Awaitable[Any]", self._handler(request, context))

    def _finished(self, started: float) -> None:
        self.held -= 1
        took = self._clock.monotonic() - started
        self._mean_s += _SMOOTHING * (took - self._mean_s)

    def _wait_s(self) -> float:
        estimate = self._mean_s * self._room / self._workers
        return min(max(estimate, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    def close(self) -> None:
        """Let the threads end; none is waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _swallow(work: "asyncio.Future[Any]") -> None:
    if not work.cancelled():
        work.exception()
