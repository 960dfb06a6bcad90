"""`compute validator`: verbs about a validator, from its state folder."""

from typing import Any, ClassVar

import typer

from compute.cli.lazy import Verb, VerbGroup

_HELP = "Look into the validator whose state folder is here."


class Verbs(VerbGroup):
    """The group's verbs."""

    verbs: ClassVar = {
        "status": Verb(
            "compute.cli.validator.status", "Show what the validator measures and pays."
        ),
        "penalties": Verb(
            "compute.cli.validator.penalties",
            "List the penalties that count now, with their reasons and their ends.",
        ),
        "penalise": Verb("compute.cli.validator.penalising", "Write a penalty into the evidence."),
        "pardon": Verb("compute.cli.validator.penalising", "Lift a penalty before its time."),
        "tenant": Verb(
            "compute.cli.validator.tenants", "Say who may rent through this validator's API."
        ),
        "export": Verb(
            "compute.cli.validator.export",
            "Write the evidence into a file, which 'compute weights replay' checks on any machine.",
        ),
    }


def register(app: typer.Typer) -> None:
    """Add the group."""
    group: Any = typer.Typer(cls=Verbs, help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    app.add_typer(group, name="validator")


def _group() -> None:
    """Look into the validator whose state folder is here."""


def shapes() -> dict[str, Any]:
    """What the group's verbs print as JSON."""
    return {
        name: shape for verb in Verbs.verbs.values() for name, shape in verb.load().shapes().items()
    }
