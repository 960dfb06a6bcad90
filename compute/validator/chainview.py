"""The chain's clock and the newest metagraph, for everything in a validator that waits for them.

One task looks at the chain; everybody else waits here. When the chain is away, time stands still:
no round starts, and what was measured meanwhile is not held against anybody.
"""

import asyncio
from collections.abc import Awaitable, Callable

from compute.domain.metagraph import Metagraph
from compute.errors import ChainError, Code, ComputeError
from compute.ports.chain import Chain
from compute.telemetry import logs

Sleep = Callable[[float], Awaitable[None]]
LOOK_TIMEOUT_S = 30.0
log = logs.get("chainview")


class ChainView:
    """What a validator knows of the chain.

    Args:
        chain: the chain itself.
        poll_s: seconds between looks.
        metagraph_every: blocks between reads of the metagraph, which is costly on a real chain.
        sleep: waits; `asyncio.sleep` but in tests.

    Attributes:
        block: newest block seen; 0 before the first look.
        away: whether the last look failed.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        poll_s: float,
        metagraph_every: int = 10,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.block = 0
        self.away = False
        self._chain = chain
        self._poll_s = poll_s
        self._every = metagraph_every
        self._sleep = sleep
        self._metagraph: Metagraph | None = None
        self._changed = asyncio.Condition()

    @property
    def metagraph(self) -> Metagraph:
        """The newest metagraph.

        Raises:
            ChainError: `CHAIN_AWAY` before the first look at the chain.
        """
        if self._metagraph is None:
            raise ChainError(Code.CHAIN_AWAY, "it was not reached yet")
        return self._metagraph

    async def look(self, *, fresh: bool = False) -> bool:
        """Look once; False when the chain is away.

        Args:
            fresh: read the metagraph too, however new the last one is.
        """
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                block = await self._chain.block()
                old = self._metagraph
                if fresh or old is None or block - old.block >= self._every:
                    self._metagraph = await self._chain.metagraph()
        except (ComputeError, TimeoutError) as error:
            if not self.away:
                log.warning("chain_away", reason=str(error) or "timeout")
            self.away = True
            return False
        if self.away:
            log.info("chain_back", block=block)
        self.away = False
        async with self._changed:
            self.block = max(self.block, block)
            self._changed.notify_all()
        return True

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await self._sleep(self._poll_s)

    async def wait_beyond(self, block: int) -> int:
        """Wait until a block after `block`; returns the newest."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.block > block)
            return self.block
