"""`compute ssh`: a shell in a lease, by the system's own ssh with the host key pinned."""

import os
import shutil

import typer

from compute.cli.names import Name
from compute.cli.session import context
from compute.errors import Code, UsageError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("ssh", context_settings={"ignore_unknown_options": True})(ssh)


def ssh(ctx: typer.Context, name: Name, arguments: list[str] = typer.Argument(None)) -> None:  # noqa: B008
    """Open a shell; anything after the name goes to ssh (for example -L 8888:localhost:8888)."""
    here = context(ctx)
    record = here.book.get(name)
    _ = record.lease_id
    program = shutil.which("ssh")
    if program is None:
        raise UsageError(
            "there is no ssh on this machine",
            code=Code.HOST_UNFIT,
            hint="install the OpenSSH client (openssh-client)",
        )
    config = here.book.folder(record.name) / "ssh_config"
    os.execv(program, [program, "-F", str(config), record.name, *(arguments or ())])  # noqa: S606
