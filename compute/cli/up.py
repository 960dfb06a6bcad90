"""`compute up`: lease a container and wait until it can be logged in to."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compute.cli.context import Context, context
from compute.cli.names import complete
from compute.cli.output import duration
from compute.cli.quote import show_quotes
from compute.cli.session import run
from compute.cli.wishing import Miner, wishing
from compute.errors import UsageError
from compute.renter.words import Words

if TYPE_CHECKING:
    from compute.renter.book import LeaseRecord


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    from compute.renter.book import LeaseRecord
    from compute.renter.leasing import Quote

    return {"up": LeaseRecord, "up --dry-run": list[Quote]}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("up")(up)


@wishing
def up(
    ctx: typer.Context,
    words: Words,
    image: Annotated[str, typer.Option(help="Image reference with digest.", metavar="IMAGE")] = "",
    dockerfile: Annotated[
        str, typer.Option(help="File of instructions on top of the default image.", metavar="FILE")
    ] = "",
    port: Annotated[
        list[int] | None, typer.Option(help="Publish this container port.", metavar="PORT")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable, NAME=VALUE; not for secrets.", metavar="NAME=VALUE"),
    ] = None,
    idle_stop: Annotated[
        str, typer.Option(help="End after so long without use.", metavar="TIME")
    ] = "0",
    name: Annotated[str, typer.Option(help="Your name for the lease.", metavar="NAME")] = "",
    miner: Miner = "",
    wait: Annotated[
        str, typer.Option(help="Go on asking so long while nothing is free.", metavar="TIME")
    ] = "0",
    resume: Annotated[
        str,
        typer.Option(
            help="Ask again for this lease, whose answer was lost.",
            metavar="NAME",
            autocompletion=complete,
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only ask whether it fits.")] = False,
) -> None:
    """Lease a container and open its credentials."""
    from compute.renter import parsing
    from compute.renter.leasing import lease
    from compute.renter.wishes import wish

    here = context(ctx)
    if resume:
        unanswered = here.book.get(resume)
        _tell_up(here, run(here, lambda session: session.renter.resume(unanswered)))
        return
    said = replace(
        words,
        image=image,
        dockerfile=_read(dockerfile),
        ports=port or (),
        environment=parsing.assignments(env or ()),
        idle_stop=idle_stop,
    )
    wanted = wish(said)
    if dry_run:
        show_quotes(here, wanted, miner)
        return
    wait_s = parsing.seconds(wait)
    tell = here.output.progress
    record = run(here, lambda s: lease(s, wanted, miner=miner, name=name, wait_s=wait_s, tell=tell))
    _tell_up(here, record)


def _tell_up(here: Context, record: "LeaseRecord") -> None:
    credentials = record.opened
    ports = "".join(
        f"\nport {port.container} is at {credentials.host}:{port.host}"
        for port in credentials.ports
    )
    here.output.data(
        record,
        text=f"{record.name} is up on {credentials.host}:{credentials.port} "
        f"for {duration(credentials.expires_at - time.time())}{ports}\n"
        f"log in with: compute ssh {record.name}",
    )


def _read(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
