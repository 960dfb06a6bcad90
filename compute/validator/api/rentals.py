"""Renting over HTTP. Every route belongs to the tenant of the bearer token, and sees only his."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field

from compute.domain.hardware import Value
from compute.domain.rental import Rental, RentalEvent, Tenant, Webhook
from compute.errors import AdmissionError, Code
from compute.protocol.clock import SYSTEM
from compute.protocol.limits import Buckets
from compute.protocol.synapses import (
    Base64Bytes,
    IdempotencyKey,
    LeaseAction,
    LeaseArguments,
    LeaseId,
    LeaseReply,
    Ss58,
)
from compute.storage.rentals import TenantStore
from compute.validator.renting.desk import Possession, RentalDesk
from compute.validator.renting.market import Offer
from compute.validator.renting.orders import Inquiry, Order
from compute.validator.renting.webhooks import WebhookStore

HEARTBEAT_S = 15.0
MOST_STREAMS = 8  # of one tenant
MOST_WAIT_S = 120.0
RATE, BURST = 20.0, 200.0  # requests a second of one tenant, sustained and at once
RentalId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="id of the rental")]
Key = Annotated[
    IdempotencyKey,
    Header(alias="Idempotency-Key", description="a repeat with the same key changes nothing"),
]


class Proof(Value):
    """Possession of the lease's private key: see `compute.crypto.possession`.

    Attributes:
        nonce: larger than any that the lease has accepted.
        proof: RSA-PSS signature, base64.
    """

    nonce: Annotated[int, Field(ge=1, le=2**63 - 1)]
    proof: Annotated[Base64Bytes, Field(max_length=1024)]


class Operation(Proof):
    """One operation on a lease."""

    arguments: LeaseArguments = LeaseArguments()


class Adoption(Proof):
    """A lease that another validator made, and that names this one as a manager."""

    hotkey: Ss58
    lease: LeaseId


class Detail(Value):
    """A rental with what happened to it."""

    rental: Rental
    events: tuple[RentalEvent, ...]


class NewWebhook(Value):
    """Where to deliver.

    Attributes:
        after: events after this seq; empty begins with what happens from now on.
    """

    url: Annotated[str, Field(min_length=8, max_length=500)]
    after: Annotated[int, Field(ge=0, le=2**53)] | None = None


class MadeWebhook(Value):
    """A webhook with the secret of its signatures, which is shown this once."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class RentalParts:
    """What the routes work with."""

    desk: RentalDesk
    tenants: TenantStore
    webhooks: WebhookStore


class TenantGate:
    """Tells whose token a request bears, and how often it may come."""

    def __init__(self, tenants: TenantStore, desk: RentalDesk) -> None:
        self._tenants = tenants
        self._desk = desk
        self._buckets = Buckets(RATE, BURST, SYSTEM)

    async def admit(self, token: str | None) -> Tenant:
        """The tenant of a token.

        Raises:
            AdmissionError: `UNAUTHENTICATED`, or `RATE_LIMITED` with the wait.
        """
        tenant = await self.holder(token)
        if tenant is None:
            raise AdmissionError(
                Code.UNAUTHENTICATED,
                "no tenant has this token",
                hint="send 'Authorization: Bearer' with the token that the operator gave you",
            )
        if (wait_s := self._buckets.wait_s(tenant.id)) > 0:
            raise AdmissionError(Code.RATE_LIMITED, retry_after_s=wait_s)
        self._buckets.spend(tenant.id)
        return tenant

    async def holder(self, token: str | None) -> Tenant | None:
        """The tenant whom a token lets in now; the operator may take it back at any time."""
        return await self._desk.off_loop(self._tenants.find, token) if token else None


_SCHEME = HTTPBearer(auto_error=False, description="the tenant's token")


Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]


async def _tenant(request: Request, bearer: Bearer) -> Tenant:
    gate: TenantGate = request.app.state.tenant_gate
    return await gate.admit(bearer.credentials if bearer else None)


Who = Annotated[Tenant, Depends(_tenant)]


def mount_rentals(app: FastAPI, parts: RentalParts) -> None:
    """Add the routes for tenants to an application."""
    app.state.tenant_gate = TenantGate(parts.tenants, parts.desk)
    router = APIRouter(prefix="/v1", tags=["rentals"])
    _add_market(router, parts.desk)
    _add_leases(router, parts.desk)
    _add_events(router, parts.desk)
    _add_webhooks(router, parts)
    app.include_router(router)


def _add_market(router: APIRouter, desk: RentalDesk) -> None:
    @router.get("/offers")
    async def offers(_tenant: Who) -> list[Offer]:
        """Everything that can be rented now, best first."""
        return desk.market.offers()

    @router.post("/quotes")
    async def quote(_tenant: Who, inquiry: Inquiry) -> list[Offer]:
        """Offers that fit a wish; nothing is reserved."""
        return desk.quote(inquiry)


def _add_leases(router: APIRouter, desk: RentalDesk) -> None:
    @router.post("/leases", status_code=201)
    async def order(
        tenant: Who,
        order: Order,
        key: Key,
        response: Response,
        wait_s: Annotated[float, Query(ge=0, le=MOST_WAIT_S)] = 60.0,
    ) -> Rental:
        """Lease by requirement, or from one miner; 202 when it takes longer than `wait_s`."""
        rental = await desk.order(tenant, key, order, wait_s)
        if rental.state == "pending":
            response.status_code = 202
        return rental

    @router.get("/leases")
    async def mine(
        tenant: Who,
        live: bool = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[Rental]:
        """The tenant's rentals, newest first."""
        return await desk.off_loop(lambda: desk.store.of_tenant(tenant.id, live=live, limit=limit))

    @router.post("/leases/adopt", status_code=201)
    async def adopt(tenant: Who, adoption: Adoption, key: Key) -> Rental:
        """Take over a lease whose own validator is gone."""
        proof = Possession(adoption.nonce, adoption.proof)
        return await desk.adopt(tenant, key, adoption.hotkey, adoption.lease, proof)

    @router.get("/leases/{rental}")
    async def show(tenant: Who, rental: RentalId) -> Detail:
        """One rental with its timeline."""
        held = await desk.off_loop(desk.store.get, tenant.id, rental)
        events = await desk.off_loop(lambda: desk.store.events(tenant.id, rental_id=rental))
        return Detail(rental=held.rental, events=tuple(events))

    @router.post("/leases/{rental}/{action}")
    async def operate(
        tenant: Who, rental: RentalId, action: LeaseAction, operation: Operation
    ) -> LeaseReply:
        """Status, release, extend, restart, pause, unpause, exchange_key or logs."""
        proof = Possession(operation.nonce, operation.proof)
        return await desk.operate(tenant, rental, action, operation.arguments, proof)


def _add_events(router: APIRouter, desk: RentalDesk) -> None:
    @router.get("/events")
    async def events(
        tenant: Who,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 200,
    ) -> list[RentalEvent]:
        """What happened after an event, oldest first."""
        return await desk.off_loop(lambda: desk.store.events(tenant.id, after=after, limit=limit))

    @router.get(
        "/events/stream",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream(
        tenant: Who,
        request: Request,
        bearer: Bearer,
        last: Annotated[
            int | None, Header(alias="Last-Event-ID", ge=0, le=2**53, description="resume after")
        ] = None,
    ) -> StreamingResponse:
        """Server-sent events: what happened after `Last-Event-ID`, and then as it happens."""
        if desk.hub.listeners(tenant.id) >= MOST_STREAMS:
            raise AdmissionError(Code.RATE_LIMITED, f"{MOST_STREAMS} streams are open already")
        after = last
        if after is None:
            after = await desk.off_loop(desk.store.last_event, tenant.id)
        return StreamingResponse(
            _stream(desk, tenant, after, lambda: _listens(request, bearer)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


async def _listens(request: Request, bearer: HTTPAuthorizationCredentials | None) -> bool:
    """Whether the other end is there, and may still listen."""
    gate: TenantGate = request.app.state.tenant_gate
    token = bearer.credentials if bearer else None
    return not await request.is_disconnected() and await gate.holder(token) is not None


async def _stream(
    desk: RentalDesk, tenant: Tenant, after: int, listens: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    with desk.hub.listening(tenant.id) as news:
        yield b": connected\n\n"
        while await listens():
            news.clear()
            for event in await desk.off_loop(_after, desk, tenant, after):
                after = event.seq
                text = f"id: {event.seq}\nevent: {event.event}\ndata: {event.model_dump_json()}\n\n"
                yield text.encode()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await news.wait()
            except TimeoutError:
                yield b": still here\n\n"


def _after(desk: RentalDesk, tenant: Tenant, seq: int) -> list[RentalEvent]:
    return desk.store.events(tenant.id, after=seq)


def _add_webhooks(router: APIRouter, parts: RentalParts) -> None:
    hooks, desk = parts.webhooks, parts.desk

    @router.get("/webhooks")
    async def webhooks(tenant: Who) -> list[Webhook]:
        """The tenant's webhooks and how their last deliveries went."""
        return await desk.off_loop(hooks.of_tenant, tenant.id)

    @router.post("/webhooks", status_code=201)
    async def add(tenant: Who, wanted: NewWebhook) -> MadeWebhook:
        """Be told of events by HTTP; the answer holds the secret of the signatures."""
        after = wanted.after
        if after is None:
            after = await desk.off_loop(desk.store.last_event, tenant.id)
        made, secret = await desk.off_loop(hooks.add, tenant, wanted.url, after)
        desk.hub.tell(tenant.id)
        return MadeWebhook(webhook=made, secret=secret)

    @router.delete("/webhooks/{name}", status_code=204)
    async def remove(tenant: Who, name: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]) -> None:
        """Be told no more."""
        await desk.off_loop(hooks.remove, tenant.id, name)
