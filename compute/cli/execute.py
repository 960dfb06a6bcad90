"""`compute exec`: one command in a lease, ending with its exit code."""

import shlex
import sys
from typing import Annotated, Any

import typer

from compute.cli.context import context
from compute.cli.names import Name
from compute.domain.hardware import Value


class Executed(Value):
    """What a command left; each stream is cut at 4 MiB."""

    exit_code: int
    stdout: str
    stderr: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"exec": Executed}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("exec", context_settings={"ignore_unknown_options": True})(execute)


def execute(
    ctx: typer.Context,
    name: Name,
    command: Annotated[list[str], typer.Argument(help="What to run, after --.")],
    timeout: Annotated[float, typer.Option(min=1, help="Limit in seconds.")] = 3600,
) -> int:
    """Run a command in a lease. Its exit code is this command's.

    One argument is a shell line; several are a program and its arguments. Piped input goes to it.
    """
    from compute.adapters.ssh.session import SshSession

    here = context(ctx)
    record = here.book.get(name)
    line = command[0] if len(command) == 1 else shlex.join(command)
    piped = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    with SshSession(record.opened, here.book.keys(record.name).ssh.private) as session:
        result = session.run(line, stdin=piped, timeout_s=timeout)
    if here.output.as_json:
        here.output.data(
            Executed(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)
        )
    else:
        sys.stdout.write(result.stdout)
        sys.stderr.write(result.stderr)
    return result.exit_code
