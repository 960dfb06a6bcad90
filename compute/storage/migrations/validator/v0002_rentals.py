"""Tenants, their rentals, what happened to them, and whom to tell."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up to this revision."""
    op.create_table(
        "tenant",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("most_leases", sa.Integer, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rental",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(32), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("idempotency_key", sa.String(128), nullable=False),
        sa.Column("order_sha256", sa.String(64), nullable=False),
        sa.Column("order_json", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("miner", sa.String(64), nullable=False),
        sa.Column("lease", sa.String(32), nullable=False),
        sa.Column("requirement", sa.Text, nullable=False),
        sa.Column("credentials", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("credited_ms", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.UniqueConstraint("tenant", "idempotency_key", name="uq_rental_once"),
    )
    op.create_index("ix_rental_tenant_created", "rental", ["tenant", "created_ms"])
    op.create_index("ix_rental_state", "rental", ["state"])
    op.create_index("ix_rental_lease", "rental", ["lease"])
    op.create_table(
        "rental_event",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(32), nullable=False),
        sa.Column("rental", sa.String(32), sa.ForeignKey("rental.id"), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rental_event_tenant", "rental_event", ["tenant", "seq"])
    op.create_index("ix_rental_event_rental", "rental_event", ["rental", "seq"])
    op.create_table(
        "webhook",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(32), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("after_seq", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
        sa.Column("last_status", sa.String(100), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
    )
    op.create_index("ix_webhook_tenant", "webhook", ["tenant"])


def downgrade() -> None:
    """Go back from this revision."""
    for table in ("webhook", "rental_event", "rental", "tenant"):
        op.drop_table(table)
