"""`compute version`: what is installed here."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from compute.cli.context import context
from compute.domain.hardware import Value
from compute.version import __version__


class Versions(Value):
    """Versions of the product and of what it stands on; empty for what is not installed."""

    compute: str
    python: str
    bittensor: str
    docker: str
    torch: str
    platform: str


def shapes() -> dict[str, Any]:
    """What the verb prints as JSON."""
    return {"version": Versions}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("version")(show_version)


def show_version(ctx: typer.Context) -> None:
    """Show the version of the product and of what it stands on."""
    found = Versions(
        compute=__version__,
        python=platform.python_version(),
        bittensor=_installed("bittensor"),
        docker=_installed("docker"),
        torch=_installed("torch"),
        platform=platform.platform(),
    )
    lines = [f"{name} {value or 'not installed'}" for name, value in found.model_dump().items()]
    context(ctx).output.data(found, text="\n".join(lines))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
