"""`compute miner images`: the images that a miner has put on its engine."""

from typing import Any

import typer

from compute.adapters.engine.baseimage import BaseImageSettings
from compute.adapters.engine.images import OwnImage, OwnImages
from compute.cli.context import context
from compute.cli.miner.here import ENGINE_S, Set, miner_settings
from compute.cli.output import table
from compute.cli.showing import clock
from compute.domain.hardware import Count, Value
from compute.settings.roles import MinerSettings


class ImageRow(Value):
    """One image of this product.

    Attributes:
        base: what it was made from, and `origin` how.
        containers: how many were made from it.
        current: whether new leases start from it.
        removable: whether `compute miner prune` would remove it.
    """

    id: str
    names: tuple[str, ...]
    size_mib: Count
    created_at: float
    base: str
    origin: str
    containers: Count
    current: bool
    removable: bool


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miner images": list[ImageRow]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("images")(images)


def images(ctx: typer.Context, settings: Set = None) -> None:
    """List the images that the miner has made, and who uses them."""
    here = context(ctx)
    found = [row_of(image, current) for image, current in listed(miner_settings(here, settings))]
    rows = table(
        "IMAGE",
        "NAMES",
        ">SIZE",
        "MADE",
        "FROM",
        ">CONTAINERS",
        "USE",
        spare=("FROM", "MADE", "CONTAINERS"),
    )
    for row in found:
        rows.add_row(
            row.id.removeprefix("sha256:")[:12],
            ", ".join(row.names) or "-",
            f"{row.size_mib} MiB",
            clock(row.created_at),
            row.base or "-",
            str(row.containers),
            "new leases" if row.current else "nothing" if row.removable else "in use",
        )
    here.output.data(found, rows, empty="the miner has made no image yet")


def listed(settings: MinerSettings) -> list[tuple[OwnImage, bool]]:
    """Each labelled image, and whether new leases start from it.

    Raises:
        EngineError: when the engine is away.
    """
    store = OwnImages(settings.leases.engine, ENGINE_S)
    try:
        tag = BaseImageSettings(settings.state, settings.image.base or None).recipe().tag
        return [
            (image, any(name.endswith(f":{tag}") for name in image.references))
            for image in store.all()
        ]
    finally:
        store.close()


def row_of(image: OwnImage, current: bool) -> ImageRow:
    """An image as it is shown."""
    return ImageRow(
        id=image.id,
        names=image.references,
        size_mib=image.size_mib,
        created_at=image.created_at,
        base=image.base,
        origin=image.origin,
        containers=image.containers,
        current=current,
        removable=not (current or image.containers or image.children),
    )
