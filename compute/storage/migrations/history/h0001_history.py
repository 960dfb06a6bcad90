"""Epochs, scores and measurements."""

import sqlalchemy as sa
from alembic import op

revision = "h0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up to this revision."""
    for table, column, length in (("miner", "hotkey", 64), ("note", "text", 300)):
        op.create_table(
            table,
            sa.Column("id", sa.Integer, nullable=False),
            sa.Column(column, sa.String(length), nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
            sa.UniqueConstraint(column, name=f"uq_{table}_{column}"),
        )
    _scores()
    _measures()


def _scores() -> None:
    op.create_table(
        "epoch",
        sa.Column("epoch_block", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("block", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("miners", sa.Integer, nullable=False),
        sa.Column("earning", sa.Integer, nullable=False),
        sa.Column("score", sa.BigInteger, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("vector", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("epoch_block", name="pk_epoch"),
    )
    op.create_index("ix_epoch_at_ms", "epoch", ["at_ms"])
    factors = ("reliability", "ramp", "probe", "rental", "penalty", "address")
    op.create_table(
        "score",
        sa.Column("miner", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("uid", sa.Integer, nullable=False),
        sa.Column("share_ppm", sa.Integer, nullable=False),
        sa.Column("score", sa.BigInteger, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in factors),
        sa.Column("zero", sa.Integer),
        sa.PrimaryKeyConstraint("miner", "at_ms", name="pk_score"),
        sqlite_with_rowid=False,
    )


def _measures() -> None:
    op.create_table(
        "measure",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("block", sa.Integer, nullable=False),
        sa.Column("miner", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("gpu_class", sa.String(200), nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("tops_milli", sa.BigInteger, nullable=False),
        sa.Column("chain_ms", sa.Integer, nullable=False),
        sa.Column("sweep_ms", sa.Integer, nullable=False),
        sa.Column("verify_ms", sa.Integer, nullable=False),
        sa.Column("total_ms", sa.Integer, nullable=False),
        sa.Column("note", sa.Integer),
        sa.PrimaryKeyConstraint("seq", name="pk_measure"),
    )
    op.create_index("ix_measure_kind", "measure", ["kind", "at_ms"])
    op.create_index("ix_measure_miner", "measure", ["miner", "kind", "at_ms"])


def downgrade() -> None:
    """Go back from this revision."""
    for table in ("measure", "score", "epoch", "note", "miner"):
        op.drop_table(table)
