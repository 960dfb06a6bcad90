"""The `compute` command: its verbs, and errors turned into one line and an exit code."""

import sys
from typing import Annotated

import typer

from compute.cli import (
    down,
    execute,
    explain,
    extend,
    logs,
    ls,
    operate,
    ps,
    rekey,
    show,
    ssh,
    up,
    verify,
)
from compute.cli.output import Output
from compute.cli.session import Context
from compute.errors import Code, ComputeError
from compute.settings.loading import load
from compute.settings.renter import RenterSettings, default_config
from compute.telemetry import logs as telemetry
from compute.telemetry.trace import new_trace
from compute.version import __version__

INTERRUPTED = 130  # what a shell expects after Ctrl-C

app = typer.Typer(
    name="compute",
    help="Rent proven GPU containers from a Bittensor subnet.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (ls, up, ps, show, ssh, execute, logs, verify, extend, operate, rekey, down, explain):
    verb.register(app)


def _version(value: bool) -> None:
    if value:
        print(f"compute {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        str, typer.Option(help="YAML file of settings.", envvar="COMPUTE_CONFIG")
    ] = "",
    network: Annotated[
        str, typer.Option(help="finney, test, ws://… or dev:/path [env COMPUTE_SUBTENSOR_NETWORK].")
    ] = "",
    netuid: Annotated[str, typer.Option(help="Subnet [env COMPUTE_NETUID].")] = "",
    wallet: Annotated[str, typer.Option(help="Coldkey name [env COMPUTE_WALLET_NAME].")] = "",
    hotkey: Annotated[str, typer.Option(help="Hotkey name [env COMPUTE_WALLET_HOTKEY].")] = "",
    wallet_path: Annotated[
        str, typer.Option(help="Folder of wallets [env COMPUTE_WALLET_PATH].")
    ] = "",
    state: Annotated[str, typer.Option(help="Folder of leases [env COMPUTE_STATE].")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors included.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    _version_flag: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Rent proven GPU containers from a Bittensor subnet."""
    flags = {
        "config": config,
        "subtensor.network": network,
        "netuid": netuid,
        "wallet.name": wallet,
        "wallet.hotkey": hotkey,
        "wallet.path": wallet_path,
        "state": state,
    }
    argv = [part for name, value in flags.items() if value for part in (f"--{name}", value)]
    settings = load(RenterSettings, argv, prog="compute", fallback=default_config())
    telemetry.configure("warning", settings.logging.format)
    ctx.obj = Context(settings, Output(as_json=json, quiet=quiet or json), new_trace())


def main(argv: list[str] | None = None) -> None:
    """Run the command and end the process with its documented exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    output = Output(as_json="--json" in arguments)
    arguments = _json_first(arguments)
    try:
        result = app(arguments, prog_name="compute", standalone_mode=False)
    except ComputeError as error:
        output.error(error)
        sys.exit(error.code.spec.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except typer.TyperException as error:
        output.error(ComputeError(Code.USAGE, str(error)))
        sys.exit(Code.USAGE.spec.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def _json_first(arguments: list[str]) -> list[str]:
    """Let `--json` stand anywhere before a `--`, as people type it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head, tail = arguments[:end], arguments[end:]
    if "--json" not in head:
        return arguments
    return ["--json", *(part for part in head if part != "--json"), *tail]


if __name__ == "__main__":
    main()
