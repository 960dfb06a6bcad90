"""The ledger of leases over SQL: rows are written before the engine is touched.

Every writing transaction holds the database's write lock from its beginning (see
`compute.storage.database`), so admissions are serial even between processes. Nothing in here calls
out while a transaction is open: pure functions come in, rows go out.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, insert, select, update

from compute.domain.capacity import Assignment
from compute.domain.lease import LIVE, TERMINAL, Lease, Warm
from compute.domain.requirement import Requirement
from compute.domain.timeline import Event, Moment
from compute.errors import Code, LeaseError
from compute.ports.ledger import Change, Draft, Replacement
from compute.storage.database import read, write
from compute.storage.rows import from_row, to_row
from compute.storage.tables import LeaseRow, MetaRow, MomentRow, WarmRow

LONGEST_TIMELINE = 512
_LIVE = tuple(sorted(state.value for state in LIVE))
_TERMINAL = tuple(sorted(state.value for state in TERMINAL))
_LEASE: Any = LeaseRow.__table__
_MOMENT: Any = MomentRow.__table__
_WARM: Any = WarmRow.__table__
_META: Any = MetaRow.__table__


class SqlLedger:
    """A ledger in a miner's database.

    Args:
        engine: an opened and migrated database, see `open_database`.
        clock: Unix seconds, for the timelines.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._owner = write(engine, _owner)

    @property
    def owner(self) -> str:
        """Random id of this ledger, made with it; labels its objects on the engine."""
        return self._owner

    def admit(
        self, owner: str, idempotency_key: str, draft: Draft, claim: str = ""
    ) -> tuple[Lease, bool]:
        """Write a new lease, unless its owner has one under this key already."""

        def work(connection: Connection) -> tuple[Lease, bool]:
            known = _same(connection, owner, idempotency_key)
            if known is not None:
                return known, False
            if claim and not _cool(connection, claim):
                raise LeaseError(Code.NO_CAPACITY, "the warm container is gone")
            lease = draft(_held(connection))
            connection.execute(insert(_LEASE).values(**to_row(lease)))
            self._add(connection, lease.id, Event.REQUESTED, lease.kind.value)
            return lease, True

        return write(self._engine, work)

    def find(self, owner: str, idempotency_key: str) -> Lease | None:
        """The lease that an owner has under a key."""
        return read(self._engine, lambda connection: _same(connection, owner, idempotency_key))

    def reserve(self, draft: Callable[[Sequence[Assignment]], Warm]) -> Warm:
        """Write a warm container before it is made."""

        def work(connection: Connection) -> Warm:
            warm = draft(_held(connection))
            connection.execute(
                insert(_WARM).values(
                    id=warm.id,
                    requirement=warm.requirement.model_dump_json(),
                    assignment=warm.assignment.model_dump_json(),
                )
            )
            return warm

        return write(self._engine, work)

    def warm(self) -> tuple[Warm, ...]:
        """The warm containers."""
        return read(self._engine, _warm)

    def cool(self, warm_id: str) -> None:
        """Forget a warm container; missing is no error."""
        write(self._engine, lambda connection: _cool(connection, warm_id))

    def change(self, lease_id: str, change: Change, event: Event, detail: str = "") -> Lease:
        """Apply a pure transition to the lease as it is now, and note it in its timeline."""
        return self._apply(lease_id, lambda lease, _: change(lease), event, detail)

    def replace(self, lease_id: str, change: Replacement, event: Event, detail: str = "") -> Lease:
        """Like `change`, with what all other live leases hold, so that hardware can be moved."""

        def with_others(lease: Lease, connection: Connection) -> Lease:
            others = (one for one in _live(connection) if one.id != lease_id)
            held = (*(one.assignment for one in others), *_warm_assignments(connection))
            return change(lease, held)

        return self._apply(lease_id, with_others, event, detail)

    def _apply(
        self,
        lease_id: str,
        change: Callable[[Lease, Connection], Lease],
        event: Event,
        detail: str,
    ) -> Lease:
        def work(connection: Connection) -> Lease:
            lease = change(from_row(_row(connection, lease_id)), connection)
            connection.execute(
                update(_LEASE).where(_LEASE.c.id == lease_id).values(**to_row(lease))
            )
            self._add(connection, lease_id, event, detail)
            return lease

        return write(self._engine, work)

    def note(self, lease_id: str, event: Event, detail: str = "") -> None:
        """Add a line to a lease's timeline."""
        write(self._engine, lambda connection: self._add(connection, lease_id, event, detail))

    def accept_nonce(self, lease_id: str, nonce: int) -> None:
        """Remember a nonce that is larger than every one before."""

        def work(connection: Connection) -> None:
            grown = (_LEASE.c.id == lease_id) & (_LEASE.c.nonce < nonce)
            if connection.execute(update(_LEASE).where(grown).values(nonce=nonce)).rowcount != 1:
                raise LeaseError(Code.POSSESSION, "the nonce is not larger than the last one")

        write(self._engine, work)

    def get(self, lease_id: str) -> Lease:
        """One lease."""
        return read(self._engine, lambda connection: from_row(_row(connection, lease_id)))

    def live(self) -> tuple[Lease, ...]:
        """Every lease that holds hardware, oldest first."""
        return read(self._engine, _live)

    def held(self) -> tuple[Assignment, ...]:
        """What the live leases hold."""
        return tuple(lease.assignment for lease in self.live())

    def recent(self, limit: int) -> tuple[Lease, ...]:
        """The newest leases in any state, newest first."""
        newest = select(_LEASE).order_by(_LEASE.c.created_at.desc()).limit(limit)
        return read(self._engine, lambda connection: _leases(connection, newest))

    def timeline(self, lease_id: str) -> tuple[Moment, ...]:
        """A lease's timeline, oldest first; at most the last 512 lines."""
        last = (
            select(_MOMENT)
            .where(_MOMENT.c.lease == lease_id)
            .order_by(_MOMENT.c.id.desc())
            .limit(LONGEST_TIMELINE)
        )
        rows = read(self._engine, lambda connection: connection.execute(last).mappings().all())
        return tuple(Moment(row["at"], Event(row["event"]), row["detail"]) for row in rows[::-1])

    def forget(self, before: float) -> int:
        """Delete terminal leases that ended before; answers how many."""
        old = _LEASE.c.state.in_(_TERMINAL) & (_LEASE.c.ended_at < before)

        def work(connection: Connection) -> int:
            return connection.execute(delete(_LEASE).where(old)).rowcount

        return write(self._engine, work)

    def _add(self, connection: Connection, lease_id: str, event: Event, detail: str) -> None:
        connection.execute(
            insert(_MOMENT).values(
                lease=lease_id, at=self._clock(), event=event.value, detail=detail[:500]
            )
        )


def _owner(connection: Connection) -> str:
    found = connection.execute(select(_META.c.value).where(_META.c.name == "owner")).scalar()
    if found is not None:
        return str(found)
    owner = secrets.token_hex(8)
    connection.execute(insert(_META).values(name="owner", value=owner))
    return owner


def _same(connection: Connection, owner: str, idempotency_key: str) -> Lease | None:
    if not idempotency_key:
        return None
    same = (_LEASE.c.owner == owner) & (_LEASE.c.idempotency_key == idempotency_key)
    row = connection.execute(select(_LEASE).where(same)).mappings().first()
    return None if row is None else from_row(row)


def _row(connection: Connection, lease_id: str) -> RowMapping:
    row = connection.execute(select(_LEASE).where(_LEASE.c.id == lease_id)).mappings().first()
    if row is None:
        raise LeaseError(Code.LEASE_UNKNOWN, lease_id)
    return row


def _leases(connection: Connection, query: Select[Any]) -> tuple[Lease, ...]:
    return tuple(from_row(row) for row in connection.execute(query).mappings())


def _held(connection: Connection) -> tuple[Assignment, ...]:
    leases = (one.assignment for one in _live(connection))
    return (*leases, *_warm_assignments(connection))


def _warm(connection: Connection) -> tuple[Warm, ...]:
    rows = connection.execute(select(_WARM)).mappings()
    return tuple(
        Warm(
            row["id"],
            Requirement.model_validate_json(row["requirement"]),
            Assignment.model_validate_json(row["assignment"]),
        )
        for row in rows
    )


def _warm_assignments(connection: Connection) -> tuple[Assignment, ...]:
    return tuple(one.assignment for one in _warm(connection))


def _cool(connection: Connection, warm_id: str) -> bool:
    return connection.execute(delete(_WARM).where(_WARM.c.id == warm_id)).rowcount == 1


def _live(connection: Connection) -> tuple[Lease, ...]:
    query = select(_LEASE).where(_LEASE.c.state.in_(_LIVE)).order_by(_LEASE.c.created_at)
    return _leases(connection, query)
