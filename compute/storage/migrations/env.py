"""Alembic's environment for all roles; the caller hands in the connection and the role."""

from alembic import context
from sqlalchemy import MetaData

from compute.storage.base import HistoryBase, MinerBase, ValidatorBase

FOREIGN_TABLES = frozenset({"apscheduler_jobs"})  # the alarm clock keeps its own table


def target() -> MetaData:
    """The tables that the role's history should lead to."""
    if context.config.attributes["role"] == "miner":
        from compute.storage import tables  # noqa: F401, PLC0415 - registers the tables

        return MinerBase.metadata
    if context.config.attributes["role"] == "history":
        from compute.storage import history_tables  # noqa: F401, PLC0415 - registers the tables

        return HistoryBase.metadata
    from compute.storage import evidence_tables, rental_tables  # noqa: F401, PLC0415 - as above

    return ValidatorBase.metadata


def run() -> None:
    """Migrate on the connection that was handed in, inside its transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=target(),
        render_as_batch=True,
        include_object=lambda _object, name, kind, _reflected, _compared: (
            kind != "table" or name not in FOREIGN_TABLES
        ),
    )
    context.run_migrations()


run()
