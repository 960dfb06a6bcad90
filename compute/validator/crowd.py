"""Does the same work for many miners, a bounded number at a time, one's trouble being its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Self, TypeVar

ItemT = TypeVar("ItemT")


async def each(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, at_once: int
) -> None:
    """Run work for every item with at most so many at once; the first error ends all.

    Work is expected to turn a miner's faults into outcomes itself: an error that comes through
    here is a fault of our own.
    """
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


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
