"""Wakes whoever waits for a tenant's events: streams and webhooks."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator


class EventHub:
    """One condition for each tenant; the events themselves are read from the database."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._any: set[asyncio.Event] = set()

    def tell(self, tenant: str) -> None:
        """Say that a tenant has a new event."""
        for event in (*self._waiting.get(tenant, ()), *self._any):
            event.set()

    @contextlib.contextmanager
    def listening(self, tenant: str = "") -> Iterator[asyncio.Event]:
        """An event that is set whenever the tenant (empty: any tenant) has something new."""
        event = asyncio.Event()
        group = self._waiting[tenant] if tenant else self._any
        group.add(event)
        try:
            yield event
        finally:
            group.discard(event)
            if tenant and not self._waiting[tenant]:
                del self._waiting[tenant]

    def listeners(self, tenant: str) -> int:
        """How many listen to a tenant's events now."""
        return len(self._waiting.get(tenant, ()))
