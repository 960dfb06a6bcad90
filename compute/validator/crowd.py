"""Does the same work for many miners, a bounded number at a time, one's trouble being its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Self, TypeVar

from compute.errors import ComputeError
from compute.telemetry import logs

ItemT = TypeVar("ItemT")
log = logs.get("crowd")


async def each(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, at_once: int
) -> None:
    """Run work for every item with at most so many at once; what breaks one item stops no other.

    Work is expected to turn a miner's faults into outcomes itself. What comes through here is
    logged, and its item left out.

    Raises:
        ComputeError: the first one that came through, once every item was worked on: it is a fault
            of our own (the database, the chain), so that the round is worth taking up again. Any
            other error may be one miner's doing: no round is held up for it.
    """
    queue = iter(items)
    faults: list[ComputeError] = []

    async def worker() -> None:
        for item in queue:
            try:
                await work(item)
            except ComputeError as error:
                log.warning("item_left_out", error=str(error))
                faults.append(error)
            except Exception:  # one item's root: its trouble must not become the others'
                log.exception("item_left_out")

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    if faults:
        raise faults[0]


class Exclusion:
    """Lets many share, or one be alone: rental probes share the miners, a proof slot wants them.

    Whoever wants to be alone is let in before newcomers that would share.
    """

    def __init__(self) -> None:
        self._sharing = 0
        self._alone = False
        self._wanting = 0
        self._changed = asyncio.Condition()

    async def share(self) -> None:
        """Enter together with others; waits while somebody is, or wants to be, alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._wanting)
            self._sharing += 1

    async def unshare(self) -> None:
        """Leave what `share` entered."""
        async with self._changed:
            self._sharing -= 1
            self._changed.notify_all()

    async def __aenter__(self) -> Self:
        async with self._changed:
            self._wanting += 1
            try:
                await self._changed.wait_for(lambda: not self._alone and not self._sharing)
                self._alone = True
            finally:
                self._wanting -= 1
                self._changed.notify_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._changed:
            self._alone = False
            self._changed.notify_all()
