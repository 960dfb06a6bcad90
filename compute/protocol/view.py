"""The metagraph as an axon sees it: cached, refreshed in the background, with its age."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from compute.domain.metagraph import Metagraph
from compute.errors import ComputeError
from compute.protocol.clock import SYSTEM, Clock

log = structlog.get_logger("metagraph")


class MetagraphView(Protocol):
    """Where an axon looks callers up."""

    def current(self) -> tuple[Metagraph | None, float]:
        """The last metagraph (None: none was ever read) and its age in seconds."""
        ...

    def poke(self) -> None:
        """Say that somebody unknown called: a refresh may be due early."""
        ...


class FixedMetagraph:
    """A metagraph that never ages: for tests, and for callers that are known beforehand."""

    def __init__(self, metagraph: Metagraph | None, age_s: float = 0) -> None:
        self.metagraph = metagraph
        self.age_s = age_s

    def current(self) -> tuple[Metagraph | None, float]:
        """The metagraph, as old as it was said to be."""
        return self.metagraph, self.age_s

    def poke(self) -> None:
        """Do nothing."""


class CachedMetagraph:
    """A metagraph that is read again in the background.

    Args:
        fetch: reads the metagraph; a `ComputeError` or a timeout keeps the old one.
        refresh_s: seconds between reads.
        early_s: least seconds between reads when an unknown caller asks for one sooner.
        timeout_s: longest one read may take.
        clock: ages are of its monotonic side.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Metagraph]],
        *,
        refresh_s: float = 60,
        early_s: float = 6,
        timeout_s: float = 30,
        clock: Clock = SYSTEM,
    ) -> None:
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._early_s = early_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._metagraph: Metagraph | None = None
        self._read_at = 0.0  # of the metagraph that is held
        self._tried_at = float("-inf")
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def current(self) -> tuple[Metagraph | None, float]:
        """The last metagraph and the seconds since it was read."""
        if self._metagraph is None:
            return None, float("inf")
        return self._metagraph, max(0.0, self._clock.monotonic() - self._read_at)

    def poke(self) -> None:
        """Refresh soon, unless the last try was less than `early_s` ago."""
        if self._clock.monotonic() - self._tried_at >= self._early_s:
            self._poked.set()

    async def refresh(self) -> bool:
        """Read now; False when the chain did not answer and the old one is kept."""
        started = self._tried_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                metagraph = await self._fetch()
        except (ComputeError, TimeoutError, OSError) as error:
            log.warning("metagraph_not_refreshed", reason=str(error) or "timeout")
            return False
        self._metagraph, self._read_at = metagraph, started
        return True

    async def start(self) -> None:
        """Read once, then keep reading in the background until `stop`."""
        if self._task is None:
            await self.refresh()
            self._task = asyncio.create_task(self._keep_fresh(), name="metagraph")

    async def stop(self) -> None:
        """End the background reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s):
                    await self._poked.wait()
            self._poked.clear()
            try:
                await self.refresh()
            except Exception:  # the task's root: a fault here must not end the refreshing
                log.exception("metagraph_refresh_failed")
