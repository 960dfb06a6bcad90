"""Tells tenants by HTTP what happened: each event at least once, in order, signed, and retried.

A delivery is a POST of one event as JSON. `X-Compute-Signature` is `v1=` and the HMAC-SHA-256 (hex)
of the timestamp header, a dot and the body, by the secret that was given when the webhook was made.
A receiver that is away holds up its own deliveries and nobody else's.
"""

import asyncio
import hmac
import ipaddress
import random
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from sqlalchemy import Engine, Row, select

from compute.domain.rental import RentalEvent, Tenant, Webhook
from compute.errors import Code, ComputeError, LeaseError, UsageError
from compute.protocol import address
from compute.protocol.address import Peer
from compute.storage.database import read, write
from compute.storage.rental_tables import rental_event, tenant, webhook
from compute.storage.rentals import RentalStore
from compute.telemetry import logs
from compute.validator.renting.hub import EventHub

MOST_HOOKS = 8  # of one tenant
MOST_ATTEMPTS = 15  # with doubling waits from 2 s up to an hour: about 5 hours
FIRST_WAIT_MS, LONGEST_WAIT_MS = 2_000, 3_600_000
DELIVERY_S = 10.0
AT_ONCE = 16
IDLE_S = 30.0
GATHER_S = 0.02  # events that come so close together are looked for once
LEAST_ERROR = 300  # statuses from here on are no success
log = logs.get("webhooks")
_NEWS = select(rental_event.c.seq).where(
    rental_event.c.tenant == webhook.c.tenant, rental_event.c.seq > webhook.c.after_seq
)
# Asked each time: a request that was let in may make a webhook while its tenant is shut out.
_ADMITTED = select(tenant.c.id).where(tenant.c.id == webhook.c.tenant, tenant.c.enabled.is_(True))
_WAITING = (
    select(webhook)
    .where(webhook.c.enabled.is_(True), _ADMITTED.exists(), _NEWS.exists())
    .order_by(webhook.c.next_ms)
)


@dataclass(frozen=True, slots=True)
class _Due:
    """A webhook with what its tenant is not shown."""

    id: str
    tenant: str
    url: str
    secret: str
    after_seq: int
    attempts: int
    next_ms: int


class WebhookStore:
    """Webhooks in the database; a cursor in each says what was delivered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, who: Tenant, url: str, after_seq: int) -> tuple[Webhook, str]:
        """Make a webhook that tells of events after a seq; gives it with its secret.

        Raises:
            UsageError: the URL is none, or the tenant has as many as it may.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UsageError("a webhook needs an http or https URL without credentials")
        if len(self.of_tenant(who.id)) >= MOST_HOOKS:
            raise UsageError(f"{MOST_HOOKS} webhooks are as many as a tenant may have")
        secret = secrets.token_hex(32)
        values = {
            "id": secrets.token_hex(16),
            "tenant": who.id,
            "url": url,
            "secret": secret,
            "after_seq": after_seq,
            "attempts": 0,
            "next_ms": 0,
            "last_status": "",
            "enabled": True,
        }
        write(self._engine, lambda c: c.execute(webhook.insert().values(**values)))
        return Webhook(id=str(values["id"]), url=url, enabled=True), secret

    def of_tenant(self, tenant: str) -> list[Webhook]:
        """A tenant's webhooks."""
        query = select(webhook).where(webhook.c.tenant == tenant).order_by(webhook.c.id)
        return read(self._engine, lambda c: [_shown(row) for row in c.execute(query)])

    def remove(self, tenant: str, name: str) -> None:
        """Take a webhook away.

        Raises:
            LeaseError: `LEASE_UNKNOWN` when the tenant has none of that id.
        """
        gone = webhook.delete().where(webhook.c.id == name, webhook.c.tenant == tenant)
        if not write(self._engine, lambda c: c.execute(gone).rowcount):
            raise LeaseError(Code.LEASE_UNKNOWN, "there is no such webhook")

    def waiting(self) -> list[_Due]:
        """Webhooks that have something to tell, in the order in which they may be delivered to."""
        return read(self._engine, lambda c: [_due(row) for row in c.execute(_WAITING)])

    def save(self, name: str, **changes: Any) -> None:
        """Write how far a webhook has come."""
        change = webhook.update().where(webhook.c.id == name).values(**changes)
        write(self._engine, lambda c: c.execute(change))


class WebhookDesk:
    """Delivers.

    Args:
        allow_private: whether loopback and private addresses may be called.
        wall: Unix seconds.
    """

    def __init__(
        self,
        hooks: WebhookStore,
        rentals: RentalStore,
        hub: EventHub,
        *,
        allow_private: bool,
        wall: Callable[[], float],
    ) -> None:
        self._hooks = hooks
        self._rentals = rentals
        self._hub = hub
        self._allow_private = allow_private
        self._wall = wall
        self._chance = random.Random()  # noqa: S311 - only spreads retries

    async def run(self) -> None:
        """Deliver until cancelled."""
        connector = aiohttp.TCPConnector(
            limit=AT_ONCE, resolver=_GuardedResolver(allow_private=self._allow_private)
        )
        timeout = aiohttp.ClientTimeout(total=DELIVERY_S)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False
        ) as session:
            with self._hub.listening() as news:
                while True:
                    news.clear()
                    waiting, now_ms = await asyncio.to_thread(self._hooks.waiting), self._now_ms()
                    if due := [hook for hook in waiting if hook.next_ms <= now_ms]:
                        await self._round(session, due)
                        continue
                    left_s = (waiting[0].next_ms - now_ms) / 1000 if waiting else IDLE_S
                    await _heard(news, min(IDLE_S, left_s))

    async def _round(self, session: aiohttp.ClientSession, due: list[_Due]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def deliver(hook: _Due) -> None:
            async with limit:
                await self._deliver_all(session, hook)

        await asyncio.gather(*(deliver(hook) for hook in due))

    async def _deliver_all(self, session: aiohttp.ClientSession, hook: _Due) -> None:
        events = await asyncio.to_thread(
            lambda: self._rentals.events(hook.tenant, after=hook.after_seq)
        )
        for event in events:
            status = await self._deliver(session, hook, event)
            if status.isdecimal() and int(status) < LEAST_ERROR:
                await self._save(
                    hook, after_seq=event.seq, attempts=0, next_ms=0, last_status=status
                )
                continue
            attempts = hook.attempts + 1
            wait_ms = min(LONGEST_WAIT_MS, FIRST_WAIT_MS << min(attempts - 1, 20))
            wait_ms += self._chance.randrange(wait_ms // 4)
            await self._save(
                hook,
                attempts=attempts,
                next_ms=self._now_ms() + wait_ms,
                last_status=status[:100],
                enabled=attempts < MOST_ATTEMPTS,
            )
            log.info("webhook_failed", hook=hook.id, attempt=attempts, reason=status)
            return

    async def _deliver(self, session: aiohttp.ClientSession, hook: _Due, event: RentalEvent) -> str:
        body = event.model_dump_json().encode()
        stamp = str(int(self._wall()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "compute-webhook",
            "X-Compute-Event": event.event.value,
            "X-Compute-Delivery": f"{hook.id}-{event.seq}",
            "X-Compute-Timestamp": stamp,
            "X-Compute-Signature": sign(hook.secret, stamp, body),
        }
        try:
            check_literal(hook.url, allow_private=self._allow_private)
            async with session.post(
                hook.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return str(answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError, ComputeError, ValueError) as error:
            return type(error).__name__

    async def _save(self, hook: _Due, **changes: Any) -> None:
        await asyncio.to_thread(lambda: self._hooks.save(hook.id, **changes))

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


class _GuardedResolver(AbstractResolver):
    """Resolves names, and refuses addresses that a tenant must not make us call."""

    def __init__(self, *, allow_private: bool) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; only addresses that may be called are given."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            address.check(Peer("", each["host"], port or 80), allow_private=self._allow_private)
        return found

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._inner.close()


def check_literal(url: str, *, allow_private: bool) -> None:
    """Refuse a URL whose host is an address that may not be called: those are not looked up.

    Raises:
        PeerError: `ADDRESS_REFUSED`.
    """
    parts = urlsplit(url)
    try:
        literal = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return
    address.check(Peer("", str(literal), parts.port or 80), allow_private=allow_private)


def sign(secret: str, stamp: str, body: bytes) -> str:
    """The signature header of a delivery."""
    return "v1=" + hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()


async def _heard(news: asyncio.Event, longest_s: float) -> None:
    """Wait for news, and a moment more for those that come with it; or for so long."""
    try:
        async with asyncio.timeout(longest_s):
            await news.wait()
    except TimeoutError:
        return
    await asyncio.sleep(GATHER_S)


def _shown(row: Row[Any]) -> Webhook:
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
    return Webhook(
        id=fields["id"],
        url=fields["url"],
        enabled=fields["enabled"],
        last_status=fields["last_status"],
        pending=fields["attempts"] > 0,
    )


def _due(row: Row[Any]) -> _Due:
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
    names = ("id", "tenant", "url", "secret", "after_seq", "attempts", "next_ms")
    return _Due(**{name: fields[name] for name in names})
