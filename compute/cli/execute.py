"""`compute exec`: one command in a lease, ending with its exit code."""

import shlex
import sys
from typing import Annotated

import typer

from compute.adapters.ssh.session import SshSession
from compute.cli.names import Name
from compute.cli.session import context
from compute.errors import Code, LeaseError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("exec", context_settings={"ignore_unknown_options": True})(execute)


def execute(
    ctx: typer.Context,
    name: Name,
    command: Annotated[list[str], typer.Argument(help="What to run, after --.")],
    timeout: Annotated[float, typer.Option(min=1, help="Limit in seconds.")] = 3600,
) -> int:
    """Run a command in a lease; its exit code is this command's."""
    here = context(ctx)
    record = here.book.get(name)
    if record.credentials is None:
        raise LeaseError(Code.LEASE_UNKNOWN, f"'{name}' has no credentials yet")
    line = command[0] if len(command) == 1 else shlex.join(command)
    piped = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    with SshSession(record.credentials, here.book.keys(record.name).ssh.private) as session:
        result = session.run(line, stdin=piped, timeout_s=timeout)
    if here.output.as_json:
        here.output.data(
            {"exit_code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}
        )
    else:
        sys.stdout.write(result.stdout)
        sys.stderr.write(result.stderr)
    return result.exit_code
