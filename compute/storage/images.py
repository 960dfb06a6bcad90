"""The record of images over SQL."""

from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from compute.ports.images import KeptImage
from compute.storage.database import read, write
from compute.storage.tables import ImageRow

_IMAGE: Any = ImageRow.__table__


class SqlImages:
    """The images that a miner brought to its engine.

    Args:
        engine: an opened and migrated database, see `open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, key: str) -> KeptImage | None:
        """The image made from something."""
        query = select(_IMAGE).where(_IMAGE.c.key == key)
        row = read(self._engine, lambda connection: connection.execute(query).mappings().first())
        return None if row is None else _kept(row)

    def keep(self, kept: KeptImage) -> None:
        """Write it down, or when it was used last."""
        values = {"image": kept.image, "size_mib": kept.size_mib, "used_at": kept.used_at}

        def work(connection: Connection) -> None:
            known = update(_IMAGE).where(_IMAGE.c.key == kept.key).values(**values)
            if not connection.execute(known).rowcount:
                connection.execute(insert(_IMAGE).values(key=kept.key, **values))

        write(self._engine, work)

    def drop(self, key: str) -> None:
        """Forget it."""
        gone = delete(_IMAGE).where(_IMAGE.c.key == key)
        write(self._engine, lambda connection: connection.execute(gone))

    def all(self) -> tuple[KeptImage, ...]:
        """All of them, least recently used first."""
        query = select(_IMAGE).order_by(_IMAGE.c.used_at)
        rows = read(self._engine, lambda connection: connection.execute(query).mappings().all())
        return tuple(_kept(row) for row in rows)


def _kept(row: Any) -> KeptImage:
    return KeptImage(row["key"], row["image"], row["size_mib"], row["used_at"])
