"""Running the host's own tools, with an error that names what is missing."""

import shutil
import subprocess

from compute.errors import Code, EngineError


def run_tool(*command: str, timeout_s: float = 60) -> str:
    """Run a tool and return what it printed.

    Raises:
        EngineError: `HOST_UNFIT` if it is not installed, refuses, or takes too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except FileNotFoundError as error:
        raise EngineError(Code.HOST_UNFIT, f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(Code.HOST_UNFIT, f"{command[0]} did not end") from error
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise EngineError(Code.HOST_UNFIT, f"{command[0]}: {' '.join(reason)}")
    return done.stdout


def try_tool(*command: str) -> bool:
    """Run a tool whose failure does not matter, and say whether it succeeded."""
    try:
        run_tool(*command)
    except EngineError:
        return False
    return True


def require_tools(*names: str) -> None:
    """Check that tools are installed.

    Raises:
        EngineError: `HOST_UNFIT`, naming all that are missing.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise EngineError(Code.HOST_UNFIT, f"not installed: {', '.join(missing)}")
