"""Writes evidence as it is measured: the log first, then the book that scores are read from."""

import asyncio
from collections.abc import Callable, Sequence

from compute.domain.book import Book
from compute.domain.evidence import EvidenceKind, Observation, Record
from compute.errors import ComputeError
from compute.storage.evidence import EvidenceLog

Listener = Callable[[Record], None]


class Recorder:
    """The one writer of evidence in a validator.

    Observations that arrive while a transaction is running are written together by the next one,
    so that a round over a thousand miners costs tens of commits and not a thousand.

    Attributes:
        book: everything measured inside the window, kept in step with the log.
    """

    def __init__(self, log: EvidenceLog, window_blocks: int) -> None:
        self.log = log
        self.book = Book()
        self._window = window_blocks
        self._waiting: list[tuple[Observation, asyncio.Future[Record | None]]] = []
        self._lock = asyncio.Lock()
        self._listeners: list[Listener] = []

    async def load(self, block: int) -> int:
        """Fill the book from the log after a start; returns how many records it took."""
        start = block - self._window
        records = await asyncio.to_thread(lambda: list(self.log.since_block(start)))
        self.book = Book().extend(records)
        if not records:
            self.book.head = (await asyncio.to_thread(self.log.head))[0]
        return len(records)

    async def sync(self) -> None:
        """Take note of what another process wrote into the log, such as a penalty."""
        async with self._lock:
            await self._catch_up()

    def listen(self, listener: Listener) -> None:
        """Call a function with each new record; it must not block."""
        self._listeners.append(listener)

    async def record(self, observation: Observation) -> Record | None:
        """Write one observation; None when this measurement was there already."""
        future: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((observation, future))
        async with self._lock:
            if not future.done():
                await self._flush()
        return await future

    async def measured(self, round_id: str, kind: EvidenceKind) -> frozenset[str]:
        """Hotkeys that a round has already measured."""
        return await asyncio.to_thread(self.log.measured, round_id, kind)

    def prune(self, block: int) -> None:
        """Forget in memory what lies a whole window and a half back."""
        self.book.prune(block - self._window * 3 // 2)

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        observations = [observation for observation, _ in batch]
        write = asyncio.create_task(asyncio.to_thread(self.log.append, observations))
        try:
            await self._settle(batch, await asyncio.shield(write))
        except asyncio.CancelledError:
            # The transaction cannot be called back: keep the book in step with it.
            await self._settle(batch, await write)
            raise
        except ComputeError as error:
            for _, future in batch:
                future.set_exception(error)

    async def _settle(
        self,
        batch: list[tuple[Observation, "asyncio.Future[Record | None]"]],
        records: Sequence[Record],
    ) -> None:
        if records and records[0].seq != self.book.head + 1:
            await self._catch_up(records[0].seq - 1)
        written: dict[tuple[str, str, str], Record] = {}
        for record in records:
            self._take(record)
            written[record.key] = record
        for observation, future in batch:
            if not future.done():
                future.set_result(written.pop(observation.key, None))

    async def _catch_up(self, upto: int | None = None) -> None:
        after = self.book.head
        for record in await asyncio.to_thread(lambda: list(self.log.records(after, upto))):
            self._take(record)

    def _take(self, record: Record) -> None:
        self.book.add(record)
        for listener in self._listeners:
            listener(record)
