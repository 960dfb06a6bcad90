"""`compute exec`: one command in a lease, ending with its exit code."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TextIO

import typer

from compute.cli.context import context
from compute.cli.names import Name, reachable
from compute.domain.hardware import Value

CHUNK = 64 * 1024


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

    One argument is a shell line; several are a program and its arguments. Piped input goes to it,
    and what it writes comes as it is written; for a terminal inside there is 'compute ssh'.
    """
    from compute.adapters.ssh.session import SshSession

    here = context(ctx)
    record = reachable(here, name)
    line = command[0] if len(command) == 1 else shlex.join(command)
    with SshSession(record.opened, here.book.keys(record.name).ssh.private) as session:
        if not here.output.as_json:
            out, err = _sink(sys.stdout), _sink(sys.stderr)
            return session.stream(line, out, err, stdin=_piped(), timeout_s=timeout)
        result = session.run(line, stdin=b"".join(_piped() or ()), timeout_s=timeout)
    here.output.data(
        Executed(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)
    )
    return result.exit_code


def _sink(stream: TextIO) -> Callable[[bytes], None]:
    """Write bytes to a stream as they come, whatever they are."""

    def write(piece: bytes) -> None:
        stream.buffer.write(piece)
        stream.flush()

    return write


def _piped() -> Iterator[bytes] | None:
    """Standard input as it comes; None from a terminal."""
    if sys.stdin.isatty():
        return None
    # Unbuffered: a thread that waits for input here must hold no lock when the process ends.
    return iter(lambda: os.read(sys.stdin.fileno(), CHUNK), b"")
