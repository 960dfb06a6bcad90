"""Everything that renting out needs, put together: desk, market, tenants, webhooks."""

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sqlalchemy import Engine

from compute.domain.book import Book
from compute.settings.validation import ValidationSettings
from compute.storage.rentals import RentalStore, TenantStore
from compute.validator.chainview import ChainView
from compute.validator.observing import Desk
from compute.validator.renting.desk import RentalDesk
from compute.validator.renting.hub import EventHub
from compute.validator.renting.liveness import PingRound
from compute.validator.renting.market import Market, MarketKeeper
from compute.validator.renting.webhooks import WebhookDesk, WebhookStore
from compute.validator.targets import Target
from compute.validator.transport import Caller


class RentalOffice:
    """Rents out for one validator.

    Attributes:
        desk: orders and operations.
        market: offers.
        tenants: who may rent.
        webhooks: whom to tell.
    """

    def __init__(
        self,
        engine: Engine,
        hotkey: str,
        caller: Caller,
        *,
        book: Callable[[], Book],
        view: ChainView,
        targets: Callable[[], Sequence[Target]],
        settings: ValidationSettings,
        wall: Callable[[], float] = time.time,
    ) -> None:
        hub = EventHub()
        self.tenants = TenantStore(engine)
        self.webhooks = WebhookStore(engine)
        self.market = Market(book, view)
        store = RentalStore(engine, hotkey)
        self.desk = RentalDesk(store, self.market, caller, hub, wall=wall)
        self._caller = caller
        self._view = view
        self._settings = settings
        self._keeper = MarketKeeper(
            self.market,
            caller,
            targets,
            deadline_s=settings.deadline.specs_s,
            at_once=settings.bound.calls,
        )
        self._deliveries = WebhookDesk(
            self.webhooks, store, hub, allow_private=settings.private_webhooks, wall=wall
        )

    def pings(self, desk: Desk) -> PingRound:
        """The round that watches over live rentals."""
        return PingRound(
            desk=desk,
            rentals=self.desk,
            caller=self._caller,
            deadline_s=self._settings.deadline.ping_s,
            at_once=self._settings.bound.calls,
        )

    def jobs(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """What runs in the background."""
        market = self._keeper.run(self._view, self._settings.cadence.offers)
        return [("market", market), ("orders", self._resume()), ("hooks", self._deliveries.run())]

    async def _resume(self) -> None:
        await self._keeper.ready.wait()
        await self.desk.resume()
