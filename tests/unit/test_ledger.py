"""The ledger in a real database: serial admissions, guarded changes, migrations."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from compute.domain import lease as life
from compute.domain.capacity import Assignment, Pool, Supply, Wish, place
from compute.domain.lease import EndReason, Lease, LeaseKind, LeaseState, Teardown
from compute.domain.requirement import Requirement
from compute.domain.timeline import Deadline, Event, Instant
from compute.errors import Code, ComputeError, LeaseError
from compute.storage.database import Role, alembic_config, connect, migrate, open_database
from compute.storage.ledger import SqlLedger

NOW = Instant(1_700_000_000.0, 500.0, "0badcafe")
IDS = itertools.count()


def open_ledger(url: str) -> SqlLedger:
    return SqlLedger(open_database(url, Role.MINER), lambda: NOW.wall)


@pytest.fixture
def ledger(database_url: str) -> SqlLedger:
    """A ledger of its own."""
    return open_ledger(database_url)


def a_lease(key: str = "", **fields: object) -> Lease:
    values: dict[str, object] = {
        "id": f"{next(IDS):032x}",
        "kind": LeaseKind.RENTAL,
        "owner": "5Owner",
        "requirement": Requirement(),
        "assignment": Assignment(cpus=(0,), memory_mib=1024),
        "created_at": NOW.wall,
        "deadline": Deadline.at(NOW, 60),
        "idempotency_key": key,
    }
    return Lease(**{**values, **fields})  # type: ignore[arg-type]


def test_a_lease_comes_back_as_it_was_written(ledger: SqlLedger):
    """Every field survives the row."""
    lease = a_lease(
        managers=("5A", "5B"),
        environment={"A": "ü"},
        nonce=2**62,
        credentials="sealed",
        reason=EndReason.IDLE,
        state=LeaseState.ENDED,
        teardown=Teardown("c", 1.5, ("gone",), "5M", "00"),
    )
    ledger.admit("5Owner", "", lambda _: lease)
    assert ledger.get(lease.id) == lease


def test_a_repeated_key_gives_the_first_lease(ledger: SqlLedger):
    """The same owner and key never make a second lease; another owner's key is another."""
    first, new = ledger.admit("5Owner", "key-key-key", lambda _: a_lease("key-key-key"))
    again, repeated = ledger.admit("5Owner", "key-key-key", lambda _: a_lease("key-key-key"))
    other, fresh = ledger.admit(
        "5Other", "key-key-key", lambda _: a_lease("key-key-key", owner="5Other")
    )
    assert (new, repeated, fresh) == (True, False, True)
    assert again == first
    assert other.id != first.id


def test_a_refused_draft_leaves_no_row(ledger: SqlLedger):
    """When placement refuses, nothing is written."""

    def refuse(_held: Sequence[Assignment]) -> Lease:
        raise LeaseError(Code.NO_CAPACITY)

    with pytest.raises(LeaseError):
        ledger.admit("5Owner", "key-key-key", refuse)
    assert ledger.live() == ()


def test_racing_admissions_cannot_overdraw(database_url: str):
    """Many threads over two connections to one database: exactly as many leases as fit."""
    supply = Supply((), Pool((0, 1, 2), 4096, 0, 64), Pool((), 0, 0, 0), range(20000, 20100))
    ledgers = [open_ledger(database_url), open_ledger(database_url)]
    outcomes: list[Assignment | None] = []

    def ask(ledger: SqlLedger) -> None:
        def draft(held: Sequence[Assignment]) -> Lease:
            share = place(supply, held, Wish(Requirement(memory_mib=1024), (22,)))
            return a_lease(assignment=share)

        try:
            outcomes.append(ledger.admit("5Owner", "", draft)[0].assignment)
        except LeaseError:
            outcomes.append(None)

    threads = [threading.Thread(target=ask, args=(ledgers[i % 2],)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [one for one in outcomes if one is not None]
    assert len(outcomes) == 24
    assert sorted(one.cpus for one in given) == [(0,), (1,), (2,)]
    assert len({one.ports[0].host for one in given}) == 3


def test_a_refused_change_writes_nothing(ledger: SqlLedger):
    """A transition that is not allowed leaves row and timeline as they were."""
    lease, _ = ledger.admit("5Owner", "", lambda _: a_lease())
    with pytest.raises(LeaseError):
        ledger.change(lease.id, life.pause, Event.PAUSED)
    assert ledger.get(lease.id) == lease
    assert [moment.event for moment in ledger.timeline(lease.id)] == [Event.REQUESTED]


def test_terminal_leases_hold_nothing(ledger: SqlLedger):
    """What is over neither counts as live nor holds hardware, and is forgotten in time."""
    lease, _ = ledger.admit("5Owner", "", lambda _: a_lease())
    ledger.change(lease.id, lambda one: life.begin_end(one, EndReason.RELEASED), Event.ENDING)
    assert len(ledger.held()) == 1
    ledger.change(lease.id, lambda one: life.finish(one, NOW), Event.ENDED)
    assert ledger.held() == ()
    assert ledger.forget(NOW.wall) == 0
    assert ledger.forget(NOW.wall + 1) == 1
    with pytest.raises(LeaseError):
        ledger.get(lease.id)


def test_moving_sees_what_others_hold(ledger: SqlLedger):
    """`replace` hands over what all other live leases hold, and not its own."""
    ledger.admit("5Owner", "", lambda _: a_lease(assignment=Assignment(cpus=(3,))))
    lease, _ = ledger.admit("5Owner", "", lambda _: a_lease())
    seen: list[Assignment] = []

    def move(one: Lease, others: Sequence[Assignment]) -> Lease:
        seen.extend(others)
        return replace(one, assignment=Assignment(cpus=(5,)))

    moved = ledger.replace(lease.id, move, Event.PLACED)
    assert [one.cpus for one in seen] == [(3,)]
    assert ledger.get(lease.id).assignment == moved.assignment


def test_a_nonce_only_grows(ledger: SqlLedger):
    """A nonce that is not larger than the last is refused, also after a restart."""
    lease, _ = ledger.admit("5Owner", "", lambda _: a_lease())
    ledger.accept_nonce(lease.id, 10)
    for stale in (10, 9):
        with pytest.raises(LeaseError) as refused:
            ledger.accept_nonce(lease.id, stale)
        assert refused.value.code is Code.POSSESSION
    ledger.accept_nonce(lease.id, 2**63 - 1)


def test_the_owner_is_made_once(database_url: str, tmp_path: Path):
    """A ledger's id lives in its database: it labels its containers for ever."""
    assert open_ledger(database_url).owner == open_ledger(database_url).owner
    other = open_ledger(f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert open_ledger(database_url).owner != other.owner


@pytest.mark.parametrize("role", list(Role))
def test_migrations_lead_to_the_tables(database_url: str, role: Role):
    """The history of each role ends exactly at the tables that the code declares."""
    engine = open_database(database_url, role)
    with engine.begin() as connection:
        command.check(alembic_config(role, connection))


@pytest.mark.parametrize("role", list(Role))
def test_migrations_can_be_undone(database_url: str, role: Role):
    """Down to nothing and up again works."""
    engine = open_database(database_url, role)
    with engine.begin() as connection:
        command.downgrade(alembic_config(role, connection), "base")
    migrate(engine, role)


def test_migrations_can_be_undone_over_rows(database_url: str):
    """Down to nothing and up again works on a ledger that holds leases."""
    open_ledger(database_url).admit("5Owner", "", lambda _: a_lease())
    engine = connect(database_url)
    with engine.begin() as connection:
        command.downgrade(alembic_config(Role.MINER, connection), "base")
    assert open_ledger(database_url).live() == ()


def test_the_database_is_durable(tmp_path: Path):
    """WAL, foreign keys, full synchronisation and patience are on for every connection."""
    engine = open_database(f"sqlite:///{tmp_path / 'x.sqlite'}", Role.MINER)
    with engine.connect() as connection:
        told = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
    assert told == ["wal", 1, 2, 30_000]


def test_an_unusable_database_has_its_own_code(tmp_path: Path):
    """A path that cannot be used is a storage failure, not a traceback of SQLAlchemy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ComputeError) as refused:
        open_database(f"sqlite:///{tmp_path / 'file' / 'x.sqlite'}", Role.MINER)
    assert refused.value.code is Code.STORAGE_FAILED
