"""`compute config`: the file of settings that the renter's verbs read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.output import table
from compute.domain.hardware import Value

if TYPE_CHECKING:
    from compute.settings.renter import RenterSettings


class Setting(Value):
    """One setting as it is in force.

    Attributes:
        name: dotted.
        value: as text; a list with commas.
        source: `flag`, `environment`, `file` or `default`.
        variable: environment variable that sets it.
    """

    name: str
    value: str
    source: str
    variable: str


class ConfigFile(Value):
    """Where the file is, and whether there is one."""

    path: str
    exists: bool


def shapes() -> dict[str, Any]:
    """What the verbs print as JSON."""
    return {
        "config get": list[Setting],
        "config set": Setting,
        "config unset": Setting,
        "config path": ConfigFile,
    }


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="Read and change your settings.", no_args_is_help=True)
    group.command("get")(get)
    group.command("set")(set_)
    group.command("unset")(unset)
    group.command("path")(path)
    group.callback()(_group)
    app.add_typer(group, name="config")


def _group() -> None:
    """Read and change your settings."""


def _names(incomplete: str) -> list[tuple[str, str]]:
    from compute.settings.loading import leaves
    from compute.settings.renter import RenterSettings

    named = ((".".join(place), field.description or "") for place, field in leaves(RenterSettings))
    return [(name, text) for name, text in named if name.startswith(incomplete)]


Key = Annotated[
    str, typer.Argument(help="Name of a setting, dotted: wallet.name.", autocompletion=_names)
]


def get(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Name of a setting; none lists all.", autocompletion=_names)
    ] = "",
) -> None:
    """Show settings as they are in force, and where each comes from."""
    from compute.settings.sources import known

    here = context(ctx)
    known(name)
    found = [each for each in _in_force(here) if name in ("", each.name)]
    if name:
        here.output.data(found, text=found[0].value)
        return
    rows = table("SETTING", "VALUE", "FROM", "ENVIRONMENT VARIABLE", spare=("FROM",))
    for each in found:
        rows.add_row(each.name, each.value, each.source, each.variable)
    here.output.data(found, rows)


def set_(
    ctx: typer.Context, name: Key, value: Annotated[str, typer.Argument(help="Its value.")]
) -> None:
    """Write a setting into the file. Comments in the file are lost."""
    from compute.settings.sources import write_setting

    here = context(ctx)
    write_setting(_file(here), name, value)
    _tell(here, name)


def unset(ctx: typer.Context, name: Key) -> None:
    """Take a setting out of the file."""
    from compute.settings.sources import write_setting

    here = context(ctx)
    write_setting(_file(here), name, None)
    _tell(here, name)


def path(ctx: typer.Context) -> None:
    """Say where the file is."""
    here = context(ctx)
    file = _file(here)
    here.output.data(ConfigFile(path=str(file), exists=file.exists()), text=str(file))


def _tell(here: Context, name: str) -> None:
    now = next(each for each in _in_force(here) if each.name == name)
    overruled = "" if now.source in ("file", "default") else f" (by the {now.source})"
    here.output.data(now, text=f"{name} is {now.value}{overruled}")


def _file(here: Context) -> Path:
    from compute.settings.sources import file_of

    return file_of(here.flags)


def _in_force(here: Context) -> list[Setting]:
    from compute.settings.loading import variable
    from compute.settings.sources import sources, text_of

    settings: RenterSettings = Context(here.flags).settings
    return [
        Setting(
            name=name,
            value=text_of(settings, name),
            source=source,
            variable=variable(tuple(name.split("."))),
        )
        for name, source in sources(here.flags).items()
    ]
