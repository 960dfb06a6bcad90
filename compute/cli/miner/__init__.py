"""`compute miner`: verbs for whoever runs a miner on this machine."""

from typing import Any, ClassVar

import typer

from compute.cli.lazy import Verb, VerbGroup

_HELP = "Look after the miner on this machine."


class Verbs(VerbGroup):
    """The group's verbs."""

    verbs: ClassVar = {
        "status": Verb("compute.cli.miner.status", "Show how the miner on this machine is."),
        "leases": Verb(
            "compute.cli.miner.leases",
            "List the miner's leases, or show one with everything that happened to it.",
        ),
        "drain": Verb("compute.cli.miner.drain", "Take no new rentals."),
        "images": Verb(
            "compute.cli.miner.images",
            "List the images that the miner has made, and who uses them.",
        ),
        "prune": Verb("compute.cli.miner.prune", "Remove images that nothing uses."),
    }


def register(app: typer.Typer) -> None:
    """Add the group."""
    group: Any = typer.Typer(cls=Verbs, help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    app.add_typer(group, name="miner")


def _group() -> None:
    """Look after the miner on this machine."""


def shapes() -> dict[str, Any]:
    """What the group's verbs print as JSON."""
    return {
        name: shape for verb in Verbs.verbs.values() for name, shape in verb.load().shapes().items()
    }
