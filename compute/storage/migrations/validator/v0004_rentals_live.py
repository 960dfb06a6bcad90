"""An index that counts a tenant's live rentals without reading those that are long over."""

from alembic import op

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go up to this revision."""
    op.create_index("ix_rental_tenant_state", "rental", ["tenant", "state"])


def downgrade() -> None:
    """Go back from this revision."""
    op.drop_index("ix_rental_tenant_state", "rental")
