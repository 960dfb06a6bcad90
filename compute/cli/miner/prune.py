"""`compute miner prune`: room on the disk, from images that nothing uses."""

from typing import Annotated, Any

import typer

from compute.adapters.engine.images import OwnImage, OwnImages
from compute.cli.context import context
from compute.cli.miner.here import ENGINE_S, Set, miner_settings
from compute.cli.miner.images import listed, row_of
from compute.cli.output import counted
from compute.domain.hardware import Count, Value
from compute.errors import Code, EngineError, UsageError


class Pruned(Value):
    """What was removed, or would be.

    Attributes:
        removed: ids.
        freed_mib: their sizes together; layers that other images share stay.
        dry_run: whether nothing was done.
    """

    removed: tuple[str, ...]
    freed_mib: Count
    dry_run: bool


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"miner prune": Pruned}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("prune")(prune)


def prune(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None, typer.Argument(help="Beginnings of ids; none takes all that are unused.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    settings: Set = None,
) -> None:
    """Remove images that nothing uses. Only the miner's own are ever touched.

    The image that new leases start from stays, as does every image with a container.
    """
    here = context(ctx)
    own = miner_settings(here, settings)
    unused = [image for image, current in listed(own) if row_of(image, current).removable]
    chosen = [_named(unused, name) for name in images] if images else unused
    size = sum(image.size_mib for image in chosen)
    if chosen and not dry_run:
        here.output.confirm(f"Remove {counted(len(chosen), 'image')} ({size} MiB)?", yes=yes)
        _remove(own.leases.engine, chosen)
    found = Pruned(removed=tuple(image.id for image in chosen), freed_mib=size, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    names = "".join(f"\n  {(image.references or (image.id,))[0]}" for image in chosen)
    here.output.data(found, text=f"{verb} {counted(len(chosen), 'image')}, {size} MiB{names}")


def _named(unused: list[OwnImage], beginning: str) -> OwnImage:
    short = beginning.removeprefix("sha256:")
    for image in unused:
        if beginning in image.references or image.id.removeprefix("sha256:").startswith(short):
            return image
    raise UsageError(
        f"'{beginning}' is no unused image of this miner", hint="'compute miner images' lists them"
    )


def _remove(engine: str, images: list[OwnImage]) -> None:
    """Remove images; one that came into use meanwhile stays, and the others go.

    Raises:
        EngineError: the first refusal.
    """
    store = OwnImages(engine, ENGINE_S)
    refusal: EngineError | None = None
    try:
        for image in images:
            try:
                store.remove(image)
            except EngineError as error:
                if error.code is Code.ENGINE_AWAY:
                    raise
                refusal = refusal or error
    finally:
        store.close()
    if refusal is not None:
        raise refusal
