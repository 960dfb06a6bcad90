"""The NAME argument of the verbs, with completion from the renter's own lease book."""

from typing import Annotated

import typer

from compute.renter.book import LeaseBook
from compute.settings.loading import load
from compute.settings.renter import RenterSettings, default_config


def complete(incomplete: str) -> list[str]:
    """Names of the leases that are not over."""
    settings = load(RenterSettings, [], prog="compute", fallback=default_config())
    records = LeaseBook(settings.state).all()
    return [r.name for r in records if not r.ended and r.name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="Name or id of a lease.", autocompletion=complete)]
