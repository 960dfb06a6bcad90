"""What just happened, sent to every open page as server-sent events.

Pages are told *that* something changed, and ask for what they show; so a page that missed an event
is only late, never wrong. Events of one kind that come close together are sent as one.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

MOST_PAGES = 64  # each holds a connection and a few kilobytes
MOST_ITEMS = 20  # of one kind that one event carries; the count tells the rest
GATHER_S = 0.4
BEAT_S = 15.0  # a comment this often keeps proxies from closing, and finds closed pages
KEPT = 50  # items that a page gets when it opens


@dataclass(slots=True, eq=False)
class _Page:
    """One open page: what it has not been sent yet, by kind of event."""

    waiting: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, kind: str, item: dict[str, Any]) -> None:
        self.waiting.setdefault(kind, deque(maxlen=MOST_ITEMS)).append(item)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.woken.set()

    def take(self) -> list[tuple[str, str]]:
        """Kinds with their data as JSON."""
        taken, counts = self.waiting, self.counts
        self.waiting, self.counts = {}, {}
        self.woken.clear()
        return [
            (kind, json.dumps({"count": counts[kind], "items": list(items)}))
            for kind, items in taken.items()
        ]


class Feed:
    """Passes events on to open pages; used from one event loop only.

    Args:
        gather_s: how long an event waits for others to go with it.
        beat_s: seconds of silence after which a comment is sent.
    """

    def __init__(self, *, gather_s: float = GATHER_S, beat_s: float = BEAT_S) -> None:
        self._gather_s = gather_s
        self._beat_s = beat_s
        self._pages: set[_Page] = set()
        self._recent: dict[str, deque[dict[str, Any]]] = {}
        self._closed = False

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    @property
    def full(self) -> bool:
        """Whether no further page may listen."""
        return len(self._pages) >= MOST_PAGES

    def put(self, kind: str, item: dict[str, Any], *, keep: bool = False) -> None:
        """Tell every page; kept items are also told to pages that open later."""
        if keep:
            self._recent.setdefault(kind, deque(maxlen=KEPT)).append(item)
        for page in self._pages:
            page.put(kind, item)

    def recent(self, kind: str) -> list[dict[str, Any]]:
        """The last kept items of a kind, oldest first."""
        return list(self._recent.get(kind, ()))

    def close(self) -> None:
        """End every page's stream, so that the server can stop at once."""
        self._closed = True
        for page in self._pages:
            page.woken.set()

    async def listen(self) -> AsyncIterator[bytes]:
        """One page's stream, in the form of server-sent events."""
        page = _Page()
        self._pages.add(page)
        try:
            yield b"retry: 2000\n\nevent: hello\ndata: {}\n\n"
            while not self._closed:
                try:
                    await asyncio.wait_for(page.woken.wait(), self._beat_s)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if not self._closed:
                    await asyncio.sleep(self._gather_s)
                for kind, data in page.take():
                    yield f"event: {kind}\ndata: {data}\n\n".encode()
        finally:
            self._pages.discard(page)
