"""The evidence log: append-only, signed, chained, each measurement at most once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bittensor.sp_core import Keypair
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from compute.domain.evidence import (
    BrokenEvidence,
    EvidenceKind,
    Observation,
    Record,
    check_chain,
    from_line,
)
from compute.domain.measurement import SpecsContent
from compute.storage.database import Role, connect, open_database
from compute.storage.evidence import EvidenceLog, read_export
from compute.validator.replay import holds

KEY: Any = Keypair.create_from_uri("//Keeper")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_database(database_url, Role.VALIDATOR)
    yield made
    made.dispose()


@pytest.fixture
def log(engine: Engine) -> EvidenceLog:
    return EvidenceLog(engine, KEY, netuid=7)


def observation(round_id: str = "specs-1", miner: str = "m", block: int = 5) -> Observation:
    return Observation(
        kind=EvidenceKind.SPECS,
        round=round_id,
        miner=miner,
        block=block,
        at_ms=1,
        content=SpecsContent(address="10.0.0.1:8091").model_dump(mode="json"),
    )


def checked(records: Any) -> list[Record]:
    return list(check_chain(records, holds))


def test_same_measurement_is_written_once(log: EvidenceLog):
    """A measurement of the same round, miner and kind is left as it is, whatever it now says."""
    first = log.append([observation()])
    again = log.append([observation(block=9), observation(miner="n")])
    assert [record.seq for record in [*first, *again]] == [1, 2]
    assert [(record.miner, record.block) for record in log.records()] == [("m", 5), ("n", 5)]


def test_log_holds_together_over_restarts(log: EvidenceLog, engine: Engine):
    """Another process goes on where the first stopped, and the whole chain still holds."""
    log.append([observation(miner=f"m{index}") for index in range(5)])
    other = EvidenceLog(engine, KEY, netuid=7)
    other.append([observation("specs-2", f"m{index}") for index in range(5)])
    assert [record.seq for record in checked(other.records())] == list(range(1, 11))


def test_database_refuses_to_change_evidence(log: EvidenceLog, engine: Engine):
    """Neither a record's change nor its removal from the middle is possible by accident."""
    log.append([observation(miner=f"m{index}") for index in range(3)])
    statements = ["UPDATE evidence SET block = 1", "DELETE FROM evidence WHERE seq = 2"]
    if engine.dialect.name == "postgresql":
        statements += ["DELETE FROM evidence WHERE seq IN (1, 3)", "TRUNCATE evidence"]
    for statement in statements:
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(statement))
    assert [record.seq for record in checked(log.records())] == [1, 2, 3]


def test_two_writers_of_one_log_share_its_places(engine: Engine, database_url: str):
    """Another process (a command that writes a penalty) never takes the place of a record."""
    logs = [EvidenceLog(each, KEY, netuid=7) for each in (engine, connect(database_url))]

    def fill(index: int) -> None:
        for number in range(5):
            logs[index % 2].append([observation(f"specs-{number}", f"m{index}")])

    threads = [threading.Thread(target=fill, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.seq for record in checked(logs[0].records())] == list(range(1, 21))


def test_retention_cuts_the_old_end_only(log: EvidenceLog):
    """Old records go, the rest still holds together, and the newest always stays."""
    for block in range(1, 11):
        log.append([observation(f"specs-{block}", block=block)])
    assert log.retain(block=4) == 4
    assert [record.block for record in checked(log.records())] == list(range(5, 11))
    assert log.retain(block=100) == 5
    added = log.append([observation("specs-11", block=11)])
    assert [record.seq for record in checked([*log.records(upto=10), *added])] == [10, 11]


def test_export_reads_back_and_holds(log: EvidenceLog, tmp_path: Path):
    """An export is the log, line by line."""
    log.append([observation(miner=f"m{index}") for index in range(4)])
    path = tmp_path / "evidence.jsonl"
    assert log.export(path) == 4
    assert checked(read_export(path)) == list(log.records())


def test_any_changed_byte_of_an_export_is_found(log: EvidenceLog, tmp_path: Path):
    """Whatever single character of an export is changed, checking it fails."""
    log.append([observation(miner=f"m{index}") for index in range(2)])
    path = tmp_path / "evidence.jsonl"
    log.export(path)
    whole = path.read_text()
    for place, old in enumerate(whole.rstrip("\n")):
        changed = whole[:place] + ("1" if old != "1" else "2") + whole[place + 1 :]
        with pytest.raises(BrokenEvidence):
            checked(from_line(line) for line in changed.splitlines())


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_and_moved_records_are_found(log: EvidenceLog, lost: int):
    """A log from which a record was taken, or in which two were swapped, does not hold."""
    log.append([observation(miner=f"m{index}") for index in range(4)])
    records = list(log.records())
    with pytest.raises(BrokenEvidence):
        checked(records[:lost] + records[lost + 1 :])
    with pytest.raises(BrokenEvidence):
        checked([*records[:lost], records[lost + 1], records[lost], *records[lost + 2 :]])


def test_record_of_another_validator_is_found(log: EvidenceLog, tmp_path: Path):
    """Nobody can go on with another's log under his own key."""
    log.append([observation()])
    engine = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}", Role.VALIDATOR)
    other = EvidenceLog(engine, Keypair.create_from_uri("//Mallory"), netuid=7)
    other.append([observation(), observation("specs-2")])
    with pytest.raises(BrokenEvidence):
        checked([*log.records(), list(other.records())[1]])


def test_fraction_in_evidence_is_refused(log: EvidenceLog):
    """Evidence holds no floating point numbers: they are refused before they are written."""
    with pytest.raises(TypeError):
        log.append([observation().model_copy(update={"content": {"share": 0.5}})])
    assert log.head()[0] == 0
