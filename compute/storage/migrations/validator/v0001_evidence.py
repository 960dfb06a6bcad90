"""The evidence log, rounds, submissions and vectors."""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None

SQLITE_TRIGGERS = (
    """CREATE TRIGGER evidence_no_update BEFORE UPDATE ON evidence
    BEGIN SELECT RAISE(ABORT, 'evidence is never changed'); END""",
    """CREATE TRIGGER evidence_no_delete BEFORE DELETE ON evidence
    WHEN EXISTS (SELECT 1 FROM evidence WHERE seq < OLD.seq)
    BEGIN SELECT RAISE(ABORT, 'evidence is removed from its old end only'); END""",
)


def upgrade() -> None:
    """Go up to this revision."""
    op.create_table(
        "evidence",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("round", sa.String(96), nullable=False),
        sa.Column("miner", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("block", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.UniqueConstraint("round", "miner", "kind", name="uq_evidence_once"),
    )
    op.create_index("ix_evidence_miner", "evidence", ["miner", "seq"])
    op.create_index("ix_evidence_block", "evidence", ["block"])
    op.create_table(
        "round",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("started_block", sa.Integer, nullable=False),
        sa.Column("ended_block", sa.Integer),
    )
    op.create_table(
        "submission",
        sa.Column("epoch_block", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("vector", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_block", sa.Integer, nullable=False),
        sa.Column("included_block", sa.Integer),
        sa.Column("message", sa.String(500), nullable=False),
    )
    op.create_table(
        "vector",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("epoch_block", sa.Integer, nullable=False, unique=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)


def downgrade() -> None:
    """Go back from this revision."""
    for table in ("vector", "submission", "round", "evidence"):
        op.drop_table(table)
