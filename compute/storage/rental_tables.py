"""Tables of a validator's database that renting out to tenants needs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from compute.storage.base import ValidatorBase

metadata = ValidatorBase.metadata

tenant = Table(
    "tenant",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("most_leases", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

rental = Table(
    "rental",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(32), ForeignKey("tenant.id"), nullable=False),
    Column("idempotency_key", String(128), nullable=False),
    Column("order_sha256", String(64), nullable=False),
    Column("order_json", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("miner", String(64), nullable=False),
    Column("lease", String(32), nullable=False),
    Column("requirement", Text, nullable=False),
    Column("credentials", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("credited_ms", BigInteger, nullable=False),
    Column("detail", String(500), nullable=False),
    UniqueConstraint("tenant", "idempotency_key", name="uq_rental_once"),
    Index("ix_rental_tenant_created", "tenant", "created_ms"),
    Index("ix_rental_tenant_state", "tenant", "state"),
    Index("ix_rental_state", "state"),
    Index("ix_rental_lease", "lease"),
)

rental_event = Table(
    "rental_event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("tenant", String(32), nullable=False),
    Column("rental", String(32), ForeignKey("rental.id"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("event", String(32), nullable=False),
    Column("detail", String(500), nullable=False),
    Index("ix_rental_event_tenant", "tenant", "seq"),
    Index("ix_rental_event_rental", "rental", "seq"),
    sqlite_autoincrement=True,
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(32), ForeignKey("tenant.id"), nullable=False),
    Column("url", String(500), nullable=False),
    Column("secret", String(64), nullable=False),
    Column("after_seq", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("last_status", String(100), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Index("ix_webhook_tenant", "tenant"),
)
