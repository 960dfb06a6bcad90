"""`compute completion`: the script that teaches a shell the verbs and the names of leases."""

from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from compute.errors import UsageError

SHELLS = ("bash", "zsh", "fish", "pwsh")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("completion")(completion)


def completion(
    shell: Annotated[
        str, typer.Argument(help="bash, zsh, fish or pwsh.", autocompletion=lambda: list(SHELLS))
    ],
) -> None:
    """Print a shell's completion script.

    For bash: source <(compute completion bash); put it into your shell's start-up file to keep it.
    """
    if shell not in SHELLS:
        raise UsageError(
            f"there is no completion for '{shell}'", hint=f"one of {', '.join(SHELLS)}"
        )
    script = get_completion_script(
        prog_name="compute", complete_var="_COMPUTE_COMPLETE", shell=shell
    )
    print(script)  # noqa: T201 - a script for the shell
