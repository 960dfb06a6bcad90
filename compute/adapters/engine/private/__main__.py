"""`python -m compute.adapters.engine.private`: start, stop and use a private engine by hand."""

import argparse
import os
import sys
from pathlib import Path

from compute.adapters.engine.private.child import run_child
from compute.adapters.engine.private.discovery import FoundEngine, Origin, hold_engine
from compute.adapters.engine.private.engine import PrivateEngine
from compute.errors import ComputeError


def main(arguments: list[str]) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run_verb(options)
    except ComputeError as error:
        _say(error.diagnostics())
        return error.code.spec.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engine", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    texts = {
        "start": "start the private engine; it stays until 'stop'",
        "stop": "end its containers, stop it, and clear what it leaves",
        "status": "say whether it runs (exit status 0) or not (3)",
        "env": "print the line for a shell to use it",
        "run": "run a command with an engine: an existing one, or a private one for its length",
    }
    for verb, text in texts.items():
        one = verbs.add_parser(verb, help=text, description=text)
        one.add_argument("--state", type=Path, required=True, help="the state folder")
        if verb == "run":
            one.add_argument("command", nargs="+", help="the command, after --")
    return parser


def _run_verb(options: argparse.Namespace) -> int:
    engine = PrivateEngine(options.state, _say)
    match options.verb:
        case "start":
            how = engine.keep()
            _say(f"engine: private, {how.value}: {engine.docker_host}")
        case "stop":
            engine.stop()
            _say("engine: stopped")
        case "status":
            running = engine.running()
            _say(f"engine: {'running' if running else 'not running'}: {engine.docker_host}")
            return 0 if running else 3
        case "env":
            sys.stdout.write(f"export DOCKER_HOST={engine.docker_host}\n")
        case _:
            return _run_command(options)
    return 0


def _run_command(options: argparse.Namespace) -> int:
    with hold_engine(options.state, os.environ, _say) as found:
        _say(f"engine: {_describe(found)}")
        environment = os.environ | {
            "DOCKER_HOST": found.docker_host,
            "COMPUTE_STATE": str(options.state.resolve()),
        }
        return run_child(options.command, environment)


def _describe(found: FoundEngine) -> str:
    if found.origin is Origin.PRIVATE and found.started:
        return f"private, {found.started.value}"
    return f"{found.origin.value}: {found.docker_host}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a command's progress


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
