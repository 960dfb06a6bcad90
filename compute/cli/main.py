"""The `compute` command: its verbs, and errors turned into one line and an exit code."""

import contextlib
import os
import sys
from typing import Annotated, ClassVar

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from compute.cli.context import Context
from compute.cli.lazy import Verb, VerbGroup
from compute.cli.output import Output
from compute.errors import Code, ComputeError
from compute.version import __version__

INTERRUPTED = 130  # what a shell expects after Ctrl-C
RENTING, OPERATING = "Renting", "Operating a neuron"
CHECKING, HERE = "Checking", "This machine"


# What the neurons call it, and what this command does.
OPTIONS = {
    "--wallet.name": "--wallet",
    "--wallet.hotkey": "--hotkey",
    "--wallet.path": "--wallet-path",
    "--subtensor.network": "--network",
}


class Verbs(VerbGroup):
    """Every verb of the command."""

    verbs: ClassVar = {
        "ls": Verb("compute.cli.ls", "List offers: what each miner claims and has free.", RENTING),
        "quote": Verb("compute.cli.quote", "Ask who could grant a lease now.", RENTING),
        "up": Verb("compute.cli.up", "Lease a container and open its credentials.", RENTING),
        "ps": Verb("compute.cli.ps", "List your leases, from the book on this machine.", RENTING),
        "show": Verb(
            "compute.cli.show", "Show a lease's state and everything that happened to it.", RENTING
        ),
        "ssh": Verb(
            "compute.cli.ssh",
            "Open a shell in a lease, with the system's ssh and the host key pinned.",
            RENTING,
        ),
        "exec": Verb("compute.cli.execute", "Run a command in a lease.", RENTING),
        "logs": Verb("compute.cli.logs", "Print the container's log.", RENTING),
        "cp": Verb(
            "compute.cli.copy", "Copy a file or a folder between this machine and a lease.", RENTING
        ),
        "port-forward": Verb(
            "compute.cli.forward",
            "Forward ports of a lease to this machine, until interrupted.",
            RENTING,
        ),
        "verify": Verb(
            "compute.cli.verify",
            "Prove the hardware inside your lease: your clock, your seeds, your check.",
            RENTING,
        ),
        "extend": Verb(
            "compute.cli.extend",
            "Move a lease's deadline, within the miner's longest lease.",
            RENTING,
        ),
        "restart": Verb("compute.cli.operate", "Restart a lease's container.", RENTING),
        "pause": Verb("compute.cli.operate", "Freeze a lease's processes.", RENTING),
        "unpause": Verb("compute.cli.operate", "Let a paused lease go on.", RENTING),
        "rekey": Verb(
            "compute.cli.rekey",
            "Make a new SSH key and let it replace every key that may log in.",
            RENTING,
        ),
        "down": Verb("compute.cli.down", "End leases now.", RENTING),
        "doctor": Verb(
            "compute.cli.doctor",
            "Check this machine: engine, disk, GPUs, firewall, keys, chain, clock, ports.",
            OPERATING,
        ),
        "miner": Verb("compute.cli.miner", "Look after the miner on this machine.", OPERATING),
        "validator": Verb(
            "compute.cli.validator",
            "Look into the validator whose state folder is here.",
            OPERATING,
        ),
        "miners": Verb(
            "compute.cli.validator.miners",
            "List the miners as they were measured: claims, proofs, probes, and how long ago.",
            OPERATING,
        ),
        "scores": Verb(
            "compute.cli.validator.scores",
            "Show who earns what by the newest evidence, and why the others do not.",
            OPERATING,
        ),
        "score": Verb("compute.cli.validator.score", "Explain scores.", OPERATING),
        "weights": Verb("compute.cli.validator.weights", "Show and recompute weights.", OPERATING),
        "receipts": Verb(
            "compute.cli.receipts",
            "List what miners have signed about your leases, and whether it holds.",
            CHECKING,
        ),
        "receipt": Verb("compute.cli.receipt", "Check what miners have signed.", CHECKING),
        "transcript": Verb("compute.cli.transcript", "Check proofs again.", CHECKING),
        "calibrate": Verb(
            "compute.cli.calibrate",
            "Measure a trusted GPU and print its row for the class table.",
            CHECKING,
        ),
        "config": Verb("compute.cli.config", "Read and change your settings.", HERE),
        "explain": Verb("compute.cli.explain", "Explain an error code, or list them all.", HERE),
        "schema": Verb(
            "compute.cli.schema", "Print the JSON Schema of what a verb prints with --json.", HERE
        ),
        "completion": Verb("compute.cli.completion", "Print a shell's completion script.", HERE),
        "version": Verb(
            "compute.cli.version", "Show the version of the product and of what it stands on.", HERE
        ),
    }


app = typer.Typer(
    cls=Verbs,
    name="compute",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 usage, and one for each error: 'compute explain' lists them.",
)


def _version(value: bool) -> None:
    if value:
        print(f"compute {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        str, typer.Option(help="YAML file of settings [env COMPUTE_CONFIG].", metavar="FILE")
    ] = "",
    network: Annotated[
        str,
        typer.Option(
            help="finney, test, ws://… or dev:/path [env COMPUTE_SUBTENSOR_NETWORK].",
            metavar="NETWORK",
        ),
    ] = "",
    netuid: Annotated[str, typer.Option(help="Subnet [env COMPUTE_NETUID].", metavar="N")] = "",
    wallet: Annotated[
        str, typer.Option(help="Coldkey name [env COMPUTE_WALLET_NAME].", metavar="NAME")
    ] = "",
    hotkey: Annotated[
        str, typer.Option(help="Hotkey name [env COMPUTE_WALLET_HOTKEY].", metavar="NAME")
    ] = "",
    wallet_path: Annotated[
        str, typer.Option(help="Folder of wallets [env COMPUTE_WALLET_PATH].", metavar="FOLDER")
    ] = "",
    state: Annotated[
        str, typer.Option(help="Folder of durable state [env COMPUTE_STATE].", metavar="FOLDER")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors included.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    _version_flag: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Rent proven GPU containers from a Bittensor subnet, and run its neurons."""
    flags = {
        "config": config,
        "subtensor.network": network,
        "netuid": netuid,
        "wallet.name": wallet,
        "wallet.hotkey": hotkey,
        "wallet.path": wallet_path,
        "state": state,
    }
    given = {name: value for name, value in flags.items() if value}
    ctx.obj = Context(given, Output(as_json=json, quiet=quiet or json), ctx.obj.trace)


def main(argv: list[str] | None = None) -> None:
    """Run the command and end the process with its documented exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    start = Context(output=Output(as_json="--json" in _head(arguments)))
    completion_init()
    code = 0
    try:
        result = app(_json_first(arguments), prog_name="compute", standalone_mode=False, obj=start)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except ComputeError as error:
        start.output.error(_in_our_words(error), start.trace)
        code = error.code.spec.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except typer.TyperException as error:
        hint = "see 'compute --help', or --help after the verb"
        start.output.error(ComputeError(Code.USAGE, str(error).rstrip("."), hint=hint), start.trace)
        code = Code.USAGE.spec.exit_code
    except BrokenPipeError:
        _hush()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _hush()
    except Exception as error:
        if os.environ.get("COMPUTE_DEBUG"):
            raise
        unforeseen = ComputeError(
            Code.INTERNAL,
            f"{type(error).__name__}: {error}",
            hint="run it again with COMPUTE_DEBUG=1 for the whole story, and report it",
        )
        start.output.error(unforeseen, start.trace)
        code = Code.INTERNAL.spec.exit_code
    sys.exit(code)


def _in_our_words(error: ComputeError) -> ComputeError:
    """An error whose hint names the command's own options, where the catalogue has the neurons'."""
    for theirs, ours in OPTIONS.items():
        error.hint = error.hint.replace(theirs, ours)
    return error


def _hush() -> None:
    """The reader has seen enough: nothing may be written any more, at the exit neither."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the end
    with contextlib.suppress(OSError):
        os.dup2(sys.stdout.fileno(), 1)


def _head(arguments: list[str]) -> list[str]:
    """What stands before a `--`."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _json_first(arguments: list[str]) -> list[str]:
    """Let `--json` stand anywhere before a `--`, as people type it."""
    head = _head(arguments)
    if "--json" not in head:
        return arguments
    rest = [part for part in head if part != "--json"]
    return ["--json", *rest, *arguments[len(head) :]]


if __name__ == "__main__":
    main()
