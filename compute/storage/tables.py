"""Tables of a miner's database."""

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from compute.storage.base import MinerBase


class MetaRow(MinerBase):
    """Facts about the database itself: `owner` is the id that labels its containers."""

    __tablename__ = "meta"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class LeaseRow(MinerBase):
    """One lease; times in Unix seconds, uptimes in seconds since boot, the rest as JSON."""

    __tablename__ = "lease"
    __table_args__ = (
        Index(
            "uq_lease_owner_idempotency_key",
            "owner",
            "idempotency_key",
            unique=True,
            sqlite_where=text("idempotency_key <> ''"),
            postgresql_where=text("idempotency_key <> ''"),
        ),
        Index("ix_lease_state", "state"),
        Index("ix_lease_ended_at", "ended_at"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(Text)
    managers: Mapped[str] = mapped_column(Text)
    requirement: Mapped[str] = mapped_column(Text)
    assignment: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    expires_uptime: Mapped[float]
    expires_boot: Mapped[str] = mapped_column(Text)
    trace: Mapped[str] = mapped_column(Text)
    image: Mapped[str] = mapped_column(Text)
    container: Mapped[str] = mapped_column(Text)
    renter_public_key: Mapped[str] = mapped_column(Text)
    ssh_public_key: Mapped[str] = mapped_column(Text)
    idempotency_key: Mapped[str] = mapped_column(Text)
    request_sha256: Mapped[str] = mapped_column(Text)
    environment: Mapped[str] = mapped_column(Text)
    idle_stop_s: Mapped[int]
    credentials: Mapped[str] = mapped_column(Text)
    nonce: Mapped[int] = mapped_column(BigInteger)
    ready_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    teardown: Mapped[str | None] = mapped_column(Text)


class MomentRow(MinerBase):
    """One line of a lease's timeline."""

    __tablename__ = "moment"
    __table_args__ = (Index("ix_moment_lease", "lease"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    lease: Mapped[str] = mapped_column(Text, ForeignKey("lease.id", ondelete="CASCADE"))
    at: Mapped[float]
    event: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)


class WarmRow(MinerBase):
    """A container that waits for its renter, and the hardware that it holds meanwhile."""

    __tablename__ = "warm"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    requirement: Mapped[str] = mapped_column(Text)
    assignment: Mapped[str] = mapped_column(Text)


class ImageRow(MinerBase):
    """An image that this miner brought to the engine, and may therefore remove.

    `key` is what it was made from: a reference with digest, or the SHA-256 of a build.
    """

    __tablename__ = "image"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    image: Mapped[str] = mapped_column(Text)
    size_mib: Mapped[int]
    used_at: Mapped[float]
