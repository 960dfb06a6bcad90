"""Tables of a validator's database that measuring and paying need.

On SQLite and PostgreSQL migrations add triggers that refuse any change of evidence, and its removal
anywhere but at the old end.
"""

from sqlalchemy import Column, Index, Integer, String, Table, Text, UniqueConstraint

from compute.storage.base import ValidatorBase

metadata = ValidatorBase.metadata

evidence = Table(
    "evidence",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("round", String(96), nullable=False),
    Column("miner", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("block", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("line", Text, nullable=False),
    UniqueConstraint("round", "miner", "kind", name="uq_evidence_once"),
    Index("ix_evidence_miner", "miner", "seq"),
    Index("ix_evidence_block", "block"),
)

round_ = Table(
    "round",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_block", Integer, nullable=False),
    Column("ended_block", Integer),
)

submission = Table(
    "submission",
    metadata,
    Column("epoch_block", Integer, primary_key=True, autoincrement=False),
    Column("vector", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sent_block", Integer, nullable=False),
    Column("included_block", Integer),
    Column("message", String(500), nullable=False),
)

vector = Table(
    "vector",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("epoch_block", Integer, nullable=False, unique=True),
    Column("document", Text, nullable=False),
)
