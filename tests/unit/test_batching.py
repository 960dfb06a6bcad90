"""Writers that share a transaction: each is answered for his own work, once it is on disk."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, select

from compute.domain.evidence import EvidenceKind
from compute.errors import Code, ComputeError, LeaseError
from compute.storage.batching import BatchWriter
from compute.storage.database import Role, open_database, read
from compute.storage.evidence_tables import round_

WRITERS = 24


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url, Role.VALIDATOR)
    yield made
    made.dispose()


def adding(number: int) -> Callable[[Connection], int]:
    """Work that writes a row and gives its number."""

    def work(connection: Connection) -> int:
        values = {"kind": EvidenceKind.SPECS.value, "number": number, "started_block": 1}
        connection.execute(round_.insert(), values)
        return number

    return work


def failing(number: int, error: Exception) -> Callable[[Connection], int]:
    """Work that writes a row and then breaks."""

    def work(connection: Connection) -> int:
        adding(number)(connection)
        raise error

    return work


def held(engine: Engine) -> list[int]:
    query = select(round_.c.number).order_by(round_.c.number)
    return read(engine, lambda connection: list(connection.scalars(query)))


def together(
    writer: BatchWriter, works: list[Callable[[Connection], int]]
) -> list[int | BaseException]:
    """Run all at once, behind a writer who keeps them waiting; what became of each."""
    busy, go = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> int:
        busy.set()
        go.wait(30)
        return 0

    with ThreadPoolExecutor(len(works) + 1) as threads:
        first = threads.submit(writer.run, hold)
        assert busy.wait(30)
        futures = [threads.submit(writer.run, work) for work in works]
        go.set()
        first.result(30)
        return [future.exception(30) or future.result() for future in futures]


def test_every_writer_is_answered_for_his_own_work(engine: Engine):
    """However many come at once, each gets what his work gave, and all of it is there."""
    writer = BatchWriter(engine)
    for turn in range(3):
        numbers = [turn * 100 + index for index in range(WRITERS)]
        assert together(writer, [adding(number) for number in numbers]) == numbers
        assert held(engine)[-WRITERS:] == numbers


@pytest.mark.parametrize("error", [LeaseError(Code.IDEMPOTENCY), ValueError("a defect")])
def test_who_breaks_breaks_alone(engine: Engine, error: Exception):
    """What one's work raises is raised to him; nothing of his is written, all of the others' is."""
    works = [failing(i, error) if i % 3 == 0 else adding(i) for i in range(WRITERS)]
    outcomes = together(BatchWriter(engine), works)
    good = [i for i in range(WRITERS) if i % 3]
    assert [outcome for outcome in outcomes if outcome is not error] == good
    assert outcomes.count(error) == WRITERS - len(good)
    assert held(engine) == good


def test_row_that_is_there_already_is_the_second_writer_s_trouble(engine: Engine):
    """What the database refuses is a storage failure of him whose row it is."""
    outcomes = together(BatchWriter(engine), [adding(1), adding(1), adding(2)])
    refused = [outcome for outcome in outcomes if isinstance(outcome, ComputeError)]
    assert [error.code for error in refused] == [Code.STORAGE_FAILED]
    assert held(engine) == [1, 2]


def test_transaction_that_is_lost_answers_nobody(engine: Engine):
    """When nothing could be written, every writer hears so, and the next is written again."""
    writer = BatchWriter(engine)

    def lose(connection: Connection) -> int:
        connection.connection.dbapi_connection.close()
        return 0

    outcomes = together(writer, [lose, adding(1), adding(2)])
    assert [type(outcome) for outcome in outcomes] == [ComputeError] * 3
    assert writer.run(adding(3)) == 3
    assert held(engine) == [3]
