"""Warm containers and what they hold."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up to this revision."""
    op.create_table(
        "warm",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("requirement", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_warm")),
    )


def downgrade() -> None:
    """Go back from this revision."""
    op.drop_table("warm")
