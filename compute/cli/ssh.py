"""`compute ssh`: a shell in a lease, by the system's own ssh with the host key pinned."""

import os
from typing import Annotated

import typer

from compute.cli.context import context
from compute.cli.names import Name, reachable
from compute.cli.programs import program


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ssh", context_settings={"ignore_unknown_options": True})(ssh)


def ssh(
    ctx: typer.Context,
    name: Name,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Goes to ssh: a command, or -L 8888:localhost:8888."),
    ] = None,
) -> None:
    """Open a shell in a lease, with the system's ssh and the host key pinned."""
    here = context(ctx)
    record = reachable(here, name)
    config = here.book.folder(record.name) / "ssh_config"
    path = program("ssh")
    os.execv(path, [path, "-F", str(config), record.name, *(arguments or ())])  # noqa: S606
