"""Tables of a validator's history: what its dashboard plots over months.

Evidence is removed after days, and a vector says only who got how much. This keeps scores with
their factors, and measurements with their figures, small enough for a year of a large subnet.
It is a convenience: nothing reads it but people, and it may be deleted at any time.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, UniqueConstraint

from compute.storage.base import HistoryBase

metadata = HistoryBase.metadata

miner = Table(
    "miner",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hotkey", String(64), nullable=False),
    UniqueConstraint("hotkey"),
)

note = Table(
    "note",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", String(300), nullable=False),
    UniqueConstraint("text"),
)

epoch = Table(
    "epoch",
    metadata,
    Column("epoch_block", Integer, primary_key=True, autoincrement=False),
    Column("block", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("miners", Integer, nullable=False),
    Column("earning", Integer, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("vector", String(64), nullable=False),
    Index("ix_epoch_at_ms", "at_ms"),
)

# Clustered by miner and time: a year of one miner is one run of pages.
score = Table(
    "score",
    metadata,
    Column("miner", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("uid", Integer, nullable=False),
    Column("share_ppm", Integer, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("reliability", Integer, nullable=False),
    Column("ramp", Integer, nullable=False),
    Column("probe", Integer, nullable=False),
    Column("rental", Integer, nullable=False),
    Column("penalty", Integer, nullable=False),
    Column("address", Integer, nullable=False),
    Column("zero", Integer),
    sqlite_with_rowid=False,
)

measure = Table(
    "measure",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("block", Integer, nullable=False),
    Column("miner", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("gpu_class", String(200), nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("tops_milli", BigInteger, nullable=False),
    Column("chain_ms", Integer, nullable=False),
    Column("sweep_ms", Integer, nullable=False),
    Column("verify_ms", Integer, nullable=False),
    Column("total_ms", Integer, nullable=False),
    Column("note", Integer),
    Index("ix_measure_kind", "kind", "at_ms"),
    Index("ix_measure_miner", "miner", "kind", "at_ms"),
)
