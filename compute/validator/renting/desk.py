"""The rental desk: takes orders, leases from miners, passes operations on, ends what is over.

An order is written down before any miner hears of it, and a miner is asked under a key that is the
rental's own: whatever dies in between, asking again gives the same lease. Credentials and proofs of
possession pass through: the desk can neither open the ones nor make the others.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from compute.domain.lease import LeaseState
from compute.domain.rental import LIVE, Rental, RentalEventKind, RentalState, Tenant
from compute.domain.requirement import Requirement
from compute.errors import Code, ComputeError, LeaseError, PeerError
from compute.protocol.synapses import (
    ALLOCATE,
    LEASE,
    AllocateReply,
    LeaseAction,
    LeaseArguments,
    LeaseReply,
    LeaseRequest,
)
from compute.storage.rentals import Held, RentalStore
from compute.telemetry import logs
from compute.validator.renting.hub import EventHub
from compute.validator.renting.market import Market, Offer
from compute.validator.renting.orders import Inquiry, Order
from compute.validator.transport import Caller

MOST_TRIES = 5  # miners tried for one order, and repeats at one miner whose answer was lost
ALLOCATE_TIMEOUT_S = 90.0
OPERATE_TIMEOUT_S = 60.0
PAUSE_S = 1.0
THREADS = 64  # orders that wait for the disk together share one sync
DEADLINE = "deadline"
LATE_MS = 5_000  # a lease counts as over when its deadline is so far past
# The miner cannot have made a lease: the next one may be asked.
_NOT_MADE = frozenset(
    {
        Code.NO_CAPACITY,
        Code.BUSY,
        Code.RATE_LIMITED,
        Code.STALE,  # under load a request may lie about for longer than its nonce is fresh
        Code.PEER_AWAY,
        Code.ADDRESS_REFUSED,
    }
)
# The answer was lost, and the lease may be there: the same miner is asked again.
_UNKNOWN = frozenset({Code.PEER_LATE, Code.RECEIPT, Code.PEER_INVALID})
_EVENTS = {
    LeaseAction.EXTEND: RentalEventKind.EXTENDED,
    LeaseAction.RESTART: RentalEventKind.RESTARTED,
    LeaseAction.PAUSE: RentalEventKind.PAUSED,
    LeaseAction.UNPAUSE: RentalEventKind.UNPAUSED,
    LeaseAction.EXCHANGE_KEY: RentalEventKind.KEY_EXCHANGED,
}
_STATES = {
    LeaseState.PAUSED: RentalState.PAUSED,
    LeaseState.ENDING: RentalState.ENDED,
    LeaseState.ENDED: RentalState.ENDED,
    LeaseState.FAILED: RentalState.FAILED,
}
ResultT = TypeVar("ResultT")
log = logs.get("renting")


@dataclass(frozen=True, slots=True)
class Possession:
    """What a tenant sends with an operation: his proof that he holds the lease's private key."""

    nonce: int
    proof: bytes


class RentalDesk:
    """Rents for tenants. Runs within one event loop.

    Args:
        store: rentals and events.
        market: what can be rented.
        caller: signs with the validator's hotkey.
        hub: told of each new event.
        wall: Unix seconds.
        pause: waits between repeats at a miner whose answer was lost.
    """

    def __init__(
        self,
        store: RentalStore,
        market: Market,
        caller: Caller,
        hub: EventHub,
        *,
        wall: Callable[[], float],
        pause: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.market = market
        self.hub = hub
        self._caller = caller
        self._wall = wall
        self._pause = pause
        self._running: dict[str, asyncio.Task[Held]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rentals")

    async def off_loop(self, work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Run blocking work, such as the store's, in one of the desk's own threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *arguments))

    # --- Asking ------------------------------------------------------------------------------

    def quote(self, inquiry: Inquiry) -> list[Offer]:
        """Offers that fit, best first; all of one miner's if it is named."""
        offers = self.market.offers(inquiry.requirement, inquiry.duration_s)
        return [offer for offer in offers if inquiry.hotkey in (None, offer.hotkey)]

    # --- Leasing -----------------------------------------------------------------------------

    async def order(self, who: Tenant, key: str, order: Order, wait_s: float) -> Rental:
        """Take an order and wait for its outcome, at most so long.

        A repeat with the same key and order gives the same rental, whatever state it is in.

        Raises:
            LeaseError: `BAD_KEY`, `IDEMPOTENCY`.
            AdmissionError: `RATE_LIMITED` at the tenant's limit.
        """
        order.check_keys()
        text = json.dumps(order.model_dump(mode="json"), sort_keys=True)
        held, _ = await self.off_loop(
            self.store.begin, who, key, text, order.requirement, self._now_ms()
        )
        if held.rental.state is not RentalState.PENDING:
            return held.rental
        self.hub.tell(who.id)
        work = self._work(held)
        done, _ = await asyncio.wait({work}, timeout=wait_s)
        return work.result().rental if done else held.rental

    async def resume(self) -> int:
        """Take up orders that a former process left open; returns how many."""
        pending = await self.off_loop(self.store.in_state, RentalState.PENDING)
        for held in pending:
            self._work(held)
        return len(pending)

    async def close(self) -> None:
        """Stop working; open orders are taken up again by the next process."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(self, held: Held) -> "asyncio.Task[Held]":
        """The one task that works on a rental, however many ask for it."""
        name = held.rental.id
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._lease(held), name=f"rental-{name}")
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return task

    async def _lease(self, held: Held) -> Held:
        order = Order.model_validate_json(held.order)
        problem: ComputeError = LeaseError(Code.NO_CAPACITY, "no miner offers that now")
        try:
            for hotkey in self._candidates(held, order):
                try:
                    return await self._lease_from(held, hotkey, order)
                except ComputeError as error:
                    problem = error
                    if error.code not in _NOT_MADE:
                        break
            return await self._fail(held, problem)
        except Exception:
            log.exception("order_broke", rental=held.rental.id)
            raise

    def _candidates(self, held: Held, order: Order) -> list[str]:
        if order.hotkey is not None:
            return [order.hotkey]
        offers = self.market.offers(order.requirement, order.duration_s)
        hotkeys = [offer.hotkey for offer in offers if offer.hotkey != held.rental.miner]
        first = [held.rental.miner] if held.rental.miner else []  # it may have leased already
        return [*first, *hotkeys][:MOST_TRIES]

    async def _lease_from(self, held: Held, hotkey: str, order: Order) -> Held:
        target = self.market.target(hotkey)
        if target is None:
            raise PeerError(Code.PEER_AWAY, "the miner serves no axon")
        if held.rental.miner != hotkey:
            trying = RentalEventKind.TRYING
            held = await self._change(held, trying, hotkey, miner=hotkey) or held
        request, tries = order.request(held.rental.id), 0
        while True:
            try:
                answer = await self._caller.call(
                    target.peer(), ALLOCATE, request, timeout_s=ALLOCATE_TIMEOUT_S
                )
                break
            except ComputeError as error:
                tries += 1
                if error.code not in _UNKNOWN or tries >= MOST_TRIES:
                    raise
                await self._pause(PAUSE_S * tries)
        reply: AllocateReply = answer.reply
        if not reply.lease_id or not reply.credentials:
            raise PeerError(Code.PEER_INVALID, "the miner answered without a lease")
        self.market.taken(hotkey, reply.requirement or order.requirement)
        return await self._active(held, reply, order.requirement)

    async def _active(self, held: Held, reply: AllocateReply, asked: Requirement) -> Held:
        changed = await self._change(
            held,
            RentalEventKind.ACTIVE,
            guard=_is_pending,
            state=RentalState.ACTIVE,
            lease=reply.lease_id,
            credentials=reply.credentials,
            requirement=reply.requirement or asked,
            expires_ms=int(reply.expires_at * 1000),
        )
        return changed or held

    async def _fail(self, held: Held, error: ComputeError) -> Held:
        detail = f"{error.code.spec.slug}: {error}"[:500]
        changed = await self._change(
            held,
            RentalEventKind.FAILED,
            detail,
            guard=_is_pending,
            state=RentalState.FAILED,
            detail=detail,
            ended_ms=self._now_ms(),
        )
        return changed or held

    # --- Operating ---------------------------------------------------------------------------

    async def operate(
        self,
        who: Tenant,
        rental_id: str,
        action: LeaseAction,
        arguments: LeaseArguments,
        proof: Possession,
    ) -> LeaseReply:
        """Pass an operation on to the miner, with the tenant's own proof of possession.

        Raises:
            LeaseError: `LEASE_UNKNOWN`, `LEASE_STATE`, `POSSESSION` and what else the miner says.
            PeerError: the miner is away or answers wrongly.
        """
        held = await self.off_loop(self.store.get, who.id, rental_id)
        if not held.rental.lease:
            raise LeaseError(Code.LEASE_STATE, f"the rental is {held.rental.state}")
        reply = await self._operate(held.rental.miner, held.rental.lease, action, arguments, proof)
        await self._follow(held, reply, _EVENTS.get(action))
        return reply

    async def adopt(
        self, who: Tenant, key: str, hotkey: str, lease: str, proof: Possession
    ) -> Rental:
        """Take over a lease that another validator made and that names us as a manager.

        The tenant proves possession, the miner checks that we are named: then this validator
        serves the lease as if it had made it.

        Raises:
            LeaseError: as `operate`.
            PeerError: the miner is away or answers wrongly.
        """
        known = await self.off_loop(self.store.find_lease, who.id, hotkey, lease)
        if known is not None:
            return known.rental
        reply = await self._operate(hotkey, lease, LeaseAction.STATUS, LeaseArguments(), proof)
        text = json.dumps({"adopted": lease, "hotkey": hotkey})
        held, fresh = await self.off_loop(
            self.store.begin, who, key, text, reply.requirement, int(reply.created_at * 1000)
        )
        if fresh:
            changed = await self._change(
                held,
                RentalEventKind.ADOPTED,
                state=_STATES.get(reply.state, RentalState.ACTIVE),
                miner=hotkey,
                lease=lease,
                expires_ms=int(reply.expires_at * 1000),
            )
            held = changed or held
        return held.rental

    async def _operate(
        self,
        hotkey: str,
        lease: str,
        action: LeaseAction,
        arguments: LeaseArguments,
        proof: Possession,
    ) -> LeaseReply:
        target = self.market.target(hotkey)
        if target is None:
            raise PeerError(Code.PEER_AWAY, "the miner serves no axon")
        request = LeaseRequest(
            lease_id=lease,
            action=action,
            arguments=arguments,
            nonce=proof.nonce,
            proof=proof.proof,
        )
        answer = await self._caller.call(target.peer(), LEASE, request, timeout_s=OPERATE_TIMEOUT_S)
        reply: LeaseReply = answer.reply
        if reply.lease_id != lease:
            raise PeerError(Code.PEER_INVALID, "the miner answered for another lease")
        return reply

    # --- Following -----------------------------------------------------------------------------

    async def _follow(self, held: Held, reply: LeaseReply, event: RentalEventKind | None) -> None:
        """Write down what the miner's answer says of the lease, if it is news."""
        state = _STATES.get(reply.state, RentalState.ACTIVE)
        changes: dict[str, Any] = {"state": state, "expires_ms": int(reply.expires_at * 1000)}
        note = ""
        if state not in LIVE:
            event, note = RentalEventKind.ENDED, str(reply.reason or "")
            changes |= {"ended_ms": int((reply.ended_at or self._wall()) * 1000), "detail": note}
        elif event is None:
            if (held.rental.state, held.rental.expires_ms) == tuple(changes.values()):
                return
            event = _news(held.rental, state)
        await self._change(held, event, note, guard=_is_live, **changes)

    async def sweep(self) -> int:
        """End rentals whose deadline has passed: the miner ends them whatever we do."""
        now_ms, ended = self._now_ms(), 0
        live = (RentalState.ACTIVE, RentalState.PAUSED)
        for held in await self.off_loop(self.store.in_state, *live):
            if held.rental.expires_ms + LATE_MS < now_ms:
                changed = await self._change(
                    held,
                    RentalEventKind.ENDED,
                    DEADLINE,
                    guard=lambda r: _is_live(r) and r.expires_ms + LATE_MS < now_ms,
                    state=RentalState.ENDED,
                    ended_ms=held.rental.expires_ms,
                    detail=DEADLINE,
                )
                ended += changed is not None
        return ended

    async def credit(self, held: Held, ms: int, reason: str) -> None:
        """Credit a tenant with time in which his lease could not be reached."""
        await self._change(held, RentalEventKind.CREDITED, reason, credit_ms=ms)

    async def note(self, held: Held, event: RentalEventKind, detail: str = "") -> None:
        """Write an event that changes nothing."""
        await self._change(held, event, detail)

    async def _change(
        self, held: Held, event: RentalEventKind, note: str = "", **changes: Any
    ) -> Held | None:
        changed = await self.off_loop(
            lambda: self.store.change(held, event, self._now_ms(), note[:500], **changes)
        )
        if changed is not None:
            self.hub.tell(held.tenant)
            if event is RentalEventKind.ENDED:
                self.market.returned(changed.rental.miner, changed.rental.requirement)
        return changed

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


def _is_live(rental: Rental) -> bool:
    return rental.state in LIVE


def _is_pending(rental: Rental) -> bool:
    return rental.state is RentalState.PENDING


def _news(rental: Rental, state: RentalState) -> RentalEventKind:
    if state is RentalState.PAUSED:
        return RentalEventKind.PAUSED
    if rental.state is RentalState.PAUSED:
        return RentalEventKind.UNPAUSED
    return RentalEventKind.EXTENDED
