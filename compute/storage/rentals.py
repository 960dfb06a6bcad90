"""Tenants' rentals in the database. Every read names its tenant: nobody sees another's anything."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, bindparam, func, select

from compute.domain.rental import LIVE, Rental, RentalEvent, RentalEventKind, RentalState, Tenant
from compute.domain.requirement import Requirement
from compute.errors import AdmissionError, Code, LeaseError, UsageError
from compute.storage.batching import BatchWriter
from compute.storage.database import read, write
from compute.storage.rental_tables import rental, rental_event, tenant, webhook

# Made once: to put a statement together costs SQLAlchemy more than to run it.
_TENANT_BY_TOKEN = select(tenant).where(
    tenant.c.token_sha256 == bindparam("digest"), tenant.c.enabled.is_(True)
)
_RENTAL_BY_ID = select(rental).where(rental.c.id == bindparam("rental_id"))
_RENTAL_BY_KEY = select(rental).where(
    rental.c.tenant == bindparam("who"), rental.c.idempotency_key == bindparam("key")
)
_LIVE_OF_TENANT = select(func.count()).where(
    rental.c.tenant == bindparam("who"), rental.c.state.in_([state.value for state in LIVE])
)
_CHANGE_RENTAL = rental.update().where(rental.c.id == bindparam("rental_id"))
_ADD_RENTAL, _ADD_EVENT = rental.insert(), rental_event.insert()
TOKEN_PREFIX = "ct_"  # noqa: S105 - what every token begins with
PAGE = 200


@dataclass(frozen=True, slots=True)
class Held:
    """A rental with what its tenant is not shown.

    Attributes:
        order: the order as JSON, to ask the miner again after a crash.
    """

    rental: Rental
    tenant: str
    order: str


class TenantStore:
    """Who may rent. Tokens are kept as hashes: a stolen database opens nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, name: str, *, most_leases: int, now_ms: int) -> tuple[Tenant, str]:
        """Make a tenant; gives it with its token, which cannot be shown again.

        Raises:
            UsageError: the name is taken, empty, too long or not printable.
        """
        self.check_free(name)
        token = _new_token()
        made = Tenant(
            id=secrets.token_hex(16),
            name=name,
            most_leases=most_leases,
            enabled=True,
            created_ms=now_ms,
        )

        def insert(connection: Connection) -> None:
            _refuse_taken(connection, name)
            values = made.model_dump() | {"token_sha256": _hash(token)}
            connection.execute(tenant.insert().values(**values))

        write(self._engine, insert)
        return made, token

    def check_free(self, name: str) -> None:
        """Refuse a name that no new tenant may have.

        Raises:
            UsageError: it is taken, empty, too long or not printable.
        """
        if not (0 < len(name) <= 64 and name.isprintable()):  # noqa: PLR2004 - the column's width
            raise UsageError(
                "a tenant's name has 1 to 64 printable characters", hint="choose another name"
            )
        read(self._engine, lambda c: _refuse_taken(c, name))

    def find(self, token: str) -> Tenant | None:
        """The enabled tenant of a token."""
        digest = {"digest": _hash(token)}
        row = read(self._engine, lambda c: c.execute(_TENANT_BY_TOKEN, digest).first())
        return None if row is None else _tenant(row)

    def all(self) -> list[Tenant]:
        """Every tenant, by name."""
        query = select(tenant).order_by(tenant.c.name)
        return read(self._engine, lambda c: [_tenant(row) for row in c.execute(query)])

    def get(self, name: str) -> Tenant:
        """A tenant by its name.

        Raises:
            UsageError: there is none.
        """
        return read(self._engine, lambda c: _named(c, name))

    def rotate(self, name: str) -> tuple[Tenant, str]:
        """Give a tenant another token; the old one opens nothing any more.

        One that was removed is let in again, with the rentals that it had.

        Raises:
            UsageError: there is none of that name.
        """
        token = _new_token()

        def change(connection: Connection) -> Tenant:
            who = _named(connection, name)
            values = {"token_sha256": _hash(token), "enabled": True}
            connection.execute(tenant.update().where(tenant.c.id == who.id).values(**values))
            return who.model_copy(update={"enabled": True})

        return write(self._engine, change), token

    def remove(self, name: str) -> Tenant:
        """Shut a tenant out and forget its webhooks; without rentals it is forgotten itself.

        Its live rentals run on to their deadlines: only their own key can end them sooner.

        Raises:
            UsageError: there is none of that name.
        """

        def change(connection: Connection) -> Tenant:
            who = _named(connection, name)
            connection.execute(webhook.delete().where(webhook.c.tenant == who.id))
            has_rented = select(rental.c.id).where(rental.c.tenant == who.id).limit(1)
            mine = tenant.c.id == who.id
            if connection.scalar(has_rented):
                connection.execute(tenant.update().where(mine).values(enabled=False))
            else:
                connection.execute(tenant.delete().where(mine))
            return who.model_copy(update={"enabled": False})

        return write(self._engine, change)

    def live(self) -> dict[str, int]:
        """Tenant's id to how many rentals it has that are not over; none for those without."""
        query = (
            select(rental.c.tenant, func.count())
            .where(rental.c.state.in_([state.value for state in LIVE]))
            .group_by(rental.c.tenant)
        )
        return read(self._engine, lambda c: {who: int(n) for who, n in c.execute(query)})


class RentalStore:
    """Rentals and their events.

    Args:
        engine: the validator's migrated database.
        validator: our hotkey (ss58), shown with each rental.
    """

    def __init__(self, engine: Engine, validator: str) -> None:
        self._engine = engine
        self._writer = BatchWriter(engine)
        self._validator = validator

    def begin(
        self, who: Tenant, key: str, order: str, requirement: Requirement, now_ms: int
    ) -> tuple[Held, bool]:
        """Write an order down before anything is asked of a miner.

        Returns:
            The rental, and whether it is new: a repeat of key and order gives the same one.

        Raises:
            LeaseError: `IDEMPOTENCY` when the key was used for another order.
            AdmissionError: `RATE_LIMITED` when the tenant has as many live rentals as it may.
        """
        digest = _hash(order)

        def work(connection: Connection) -> tuple[Held, bool]:
            same = {"who": who.id, "key": key}
            if (row := connection.execute(_RENTAL_BY_KEY, same).first()) is not None:
                if row._mapping["order_sha256"] != digest:  # noqa: SLF001 - SQLAlchemy's public name
                    raise LeaseError(Code.IDEMPOTENCY)
                return self._held(row), False
            self._check_room(connection, who)
            made = Rental(
                id=secrets.token_hex(16),
                state=RentalState.PENDING,
                validator=self._validator,
                requirement=requirement,
                created_ms=now_ms,
            )
            values = _columns(made) | {
                "tenant": who.id,
                "idempotency_key": key,
                "order_sha256": digest,
                "order_json": order,
            }
            connection.execute(_ADD_RENTAL, values)
            _note(connection, who.id, made.id, RentalEventKind.REQUESTED, "", now_ms)
            return Held(made, who.id, order), True

        return self._writer.run(work)

    def change(
        self,
        held: Held,
        event: RentalEventKind,
        now_ms: int,
        note: str = "",
        *,
        guard: Callable[[Rental], bool] = lambda _: True,
        credit_ms: int = 0,
        **changes: Any,
    ) -> Held | None:
        """Write what is new about a rental together with the event that brought it.

        Args:
            held: the rental, as it was read.
            event: what happened.
            now_ms: when, Unix milliseconds.
            note: of the event, for the tenant to read.
            guard: must hold for the rental as it is by now; else nothing is written.
            credit_ms: added to what was credited before.
            changes: fields of the rental, by name.

        Returns:
            The rental as it is now; None when the guard did not hold.
        """

        def work(connection: Connection) -> Held | None:
            this = {"rental_id": held.rental.id}
            now = self._held(connection.execute(_RENTAL_BY_ID, this).one())
            if not guard(now.rental):
                return None
            fields = changes | {"credited_ms": now.rental.credited_ms + credit_ms}
            changed = now.rental.model_copy(update=fields)
            columns = _columns(changed)
            connection.execute(_CHANGE_RENTAL, this | {name: columns[name] for name in fields})
            _note(connection, held.tenant, changed.id, event, note, now_ms)
            return Held(changed, held.tenant, held.order)

        return self._writer.run(work)

    def get(self, tenant_id: str, rental_id: str) -> Held:
        """One rental of a tenant.

        Raises:
            LeaseError: `LEASE_UNKNOWN` when the tenant has none of that id.
        """
        query = select(rental).where(rental.c.id == rental_id, rental.c.tenant == tenant_id)
        row = read(self._engine, lambda c: c.execute(query).first())
        if row is None:
            raise LeaseError(Code.LEASE_UNKNOWN)
        return self._held(row)

    def find_lease(self, tenant_id: str, miner: str, lease: str) -> Held | None:
        """A tenant's rental by the miner's id for it."""
        query = select(rental).where(
            rental.c.tenant == tenant_id, rental.c.miner == miner, rental.c.lease == lease
        )
        row = read(self._engine, lambda c: c.execute(query).first())
        return None if row is None else self._held(row)

    def of_tenant(self, tenant_id: str, *, live: bool, limit: int) -> list[Rental]:
        """A tenant's rentals, newest first."""
        query = select(rental).where(rental.c.tenant == tenant_id)
        if live:
            query = query.where(rental.c.state.in_([state.value for state in LIVE]))
        query = query.order_by(rental.c.created_ms.desc(), rental.c.id).limit(min(limit, PAGE))
        return [held.rental for held in self._all(query)]

    def in_state(self, *states: RentalState) -> list[Held]:
        """Rentals of all tenants in these states, for the validator's own work."""
        return self._all(select(rental).where(rental.c.state.in_([s.value for s in states])))

    def events(
        self, tenant_id: str, *, rental_id: str = "", after: int = 0, limit: int = PAGE
    ) -> list[RentalEvent]:
        """A tenant's events after a seq, oldest first."""
        query = select(rental_event).where(
            rental_event.c.tenant == tenant_id, rental_event.c.seq > after
        )
        if rental_id:
            query = query.where(rental_event.c.rental == rental_id)
        query = query.order_by(rental_event.c.seq).limit(limit)
        return read(self._engine, lambda c: [_event(row) for row in c.execute(query)])

    def last_event(self, tenant_id: str) -> int:
        """Seq of a tenant's newest event; 0 before the first."""
        query = select(func.max(rental_event.c.seq)).where(rental_event.c.tenant == tenant_id)
        return int(read(self._engine, lambda c: c.scalar(query)) or 0)

    def _check_room(self, connection: Connection, who: Tenant) -> None:
        live = connection.scalar(_LIVE_OF_TENANT, {"who": who.id})
        if int(live or 0) >= who.most_leases:
            raise AdmissionError(
                Code.RATE_LIMITED,
                f"{who.most_leases} live rentals are as many as this tenant may have",
                hint="release one, or ask the validator's operator for more",
            )

    def _all(self, query: Select[Any]) -> list[Held]:
        return read(self._engine, lambda c: [self._held(row) for row in c.execute(query)])

    def _held(self, row: Row[Any]) -> Held:
        fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
        names = Rental.model_fields.keys() & fields.keys()
        shown = {name: fields[name] for name in names} | {
            "validator": self._validator,
            "requirement": Requirement.model_validate_json(fields["requirement"]),
        }
        return Held(Rental.model_validate(shown), fields["tenant"], fields["order_json"])


def _columns(made: Rental) -> dict[str, Any]:
    fields = made.model_dump(exclude={"validator", "requirement"})
    fields["state"] = made.state.value
    fields["requirement"] = made.requirement.model_dump_json()
    fields["detail"] = made.detail[:500]
    return fields


def _note(
    connection: Connection,
    tenant_id: str,
    rental_id: str,
    event: RentalEventKind,
    detail: str,
    now_ms: int,
) -> None:
    values = {
        "tenant": tenant_id,
        "rental": rental_id,
        "at_ms": now_ms,
        "event": event.value,
        "detail": detail[:500],
    }
    connection.execute(_ADD_EVENT, values)


def _event(row: Row[Any]) -> RentalEvent:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    del fields["tenant"]
    return RentalEvent.model_validate(fields)


def _tenant(row: Row[Any]) -> Tenant:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    del fields["token_sha256"]
    return Tenant.model_validate(fields)


def _refuse_taken(connection: Connection, name: str) -> None:
    if connection.scalar(select(tenant.c.id).where(tenant.c.name == name)):
        raise UsageError(
            f"there is a tenant '{name}' already",
            hint="rotate its token to give it another one, or choose another name",
        )


def _named(connection: Connection, name: str) -> Tenant:
    row = connection.execute(select(tenant).where(tenant.c.name == name)).first()
    if row is None:
        raise UsageError(
            f"there is no tenant '{name}'", hint="'compute validator tenant list' lists them"
        )
    return _tenant(row)


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_hex(24)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
