"""Reading all tenants' rentals, for the operator's own eyes: nothing that is a tenant's secret.

Neither sealed credentials nor orders are read, so that nothing can show them by mistake.
"""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Row, Select, func, select

from compute.domain.rental import LIVE, RentalEvent
from compute.domain.requirement import Requirement
from compute.storage.database import read
from compute.storage.rental_tables import rental, rental_event, tenant

LONGEST_TIMELINE = 512
_PLAIN = ("id", "state", "miner", "lease", "detail")
_TIMES = ("created_ms", "expires_ms", "ended_ms", "credited_ms")
_COLUMNS = (
    *(rental.c[name] for name in (*_PLAIN, *_TIMES)),
    rental.c.requirement,
    tenant.c.name.label("tenant"),
)


class RentalRow(NamedTuple):
    """One rental.

    Attributes:
        tenant: name of whom it is for.
    """

    id: str
    state: str
    miner: str
    lease: str
    created_ms: int
    expires_ms: int
    ended_ms: int | None
    credited_ms: int
    detail: str
    requirement: Requirement
    tenant: str


class RentalReader:
    """Rentals of every tenant; every call is one short transaction.

    Args:
        engine: the validator's migrated database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, state: str, *, limit: int, offset: int) -> tuple[int, list[RentalRow]]:
        """How many there are in a state (`live`, any by name, or empty for all); one page of them.

        Newest first.
        """
        where: list[ColumnElement[bool]] = []
        if state == "live":
            where.append(rental.c.state.in_([one.value for one in LIVE]))
        elif state:
            where.append(rental.c.state == state)
        count = select(func.count()).select_from(rental).where(*where)
        newest = rental.c.created_ms.desc(), rental.c.id
        query = _query().where(*where).order_by(*newest).limit(limit).offset(offset)
        return read(
            self._engine,
            lambda c: (int(c.scalar(count) or 0), [_row(row) for row in c.execute(query)]),
        )

    def one(self, rental_id: str) -> tuple[RentalRow, list[RentalEvent]] | None:
        """One rental with its timeline, oldest first; None when there is none."""
        newest = (
            select(rental_event)
            .where(rental_event.c.rental == rental_id)
            .order_by(rental_event.c.seq.desc())
            .limit(LONGEST_TIMELINE)
        )

        def work(connection: Any) -> tuple[RentalRow, list[RentalEvent]] | None:
            row = connection.execute(_query().where(rental.c.id == rental_id)).first()
            if row is None:
                return None
            events = [_event(one) for one in connection.execute(newest)]
            return _row(row), events[::-1]

        return read(self._engine, work)


def _query() -> Select[Any]:
    return select(*_COLUMNS).join(tenant, tenant.c.id == rental.c.tenant)


def _row(row: Row[Any]) -> RentalRow:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    need = Requirement.model_validate_json(fields.pop("requirement"))
    return RentalRow(requirement=need, **fields)


def _event(row: Row[Any]) -> RentalEvent:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    del fields["tenant"]
    return RentalEvent.model_validate(fields)
