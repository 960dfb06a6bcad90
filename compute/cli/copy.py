"""`compute cp`: files in and out of a lease, by the system's own scp with the host key pinned."""

import subprocess
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.names import complete, reachable
from compute.cli.programs import program
from compute.domain.hardware import Value
from compute.errors import Code, PeerError, UsageError

if TYPE_CHECKING:
    from compute.renter.book import LeaseRecord


class Copied(Value):
    """What was copied where."""

    source: str
    target: str
    seconds: float


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"cp": Copied}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("cp")(copy)


def _places(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return [(f"{name}:", address) for name, address in complete(ctx, incomplete)]


Place = Annotated[str, typer.Argument(help="A path, or NAME:path.", autocompletion=_places)]


def copy(ctx: typer.Context, source: Place, target: Place) -> None:
    """Copy a file or a folder between this machine and a lease.

    Folders are copied with everything in them; times and modes are kept.
    """
    here = context(ctx)
    record = _lease(here, source, target)
    quiet = here.output.quiet or not here.output.terminal
    config = here.book.folder(record.name) / "ssh_config"
    begun = time.monotonic()
    done = subprocess.run(
        [
            program("scp"),
            "-F",
            str(config),
            "-rp",
            *(["-q"] if quiet else []),
            "--",
            source,
            target,
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise PeerError(Code.SSH_BROKEN, said[-1] if said else f"scp: {done.returncode}")
    took = round(time.monotonic() - begun, 3)
    here.output.data(
        Copied(source=source, target=target, seconds=took),
        text=f"{source} is now at {target} ({took:.1f} s)",
    )


def _lease(here: Context, source: str, target: str) -> "LeaseRecord":
    """The one lease that a copy is from or to.

    Raises:
        UsageError: when neither or both sides name one.
    """
    named = [place.partition(":")[0] for place in (source, target) if ":" in place]
    if len(named) != 1:
        raise UsageError(
            "one side of a copy is in a lease, and one is not", hint="for example: cp data train:"
        )
    return reachable(here, named[0])
