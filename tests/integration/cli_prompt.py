"""A prompt that runs `compute` verbs in forks of one process, so that none has to import anew.

In all else a verb is at a real terminal, as under a shell. Run as a script in a pseudo-terminal.
"""

import os
import shlex
import sys

import bittensor  # noqa: F401 - what takes long to import is here before the first fork
import docker  # noqa: F401

from compute.adapters.ssh import session  # noqa: F401
from compute.cli.main import main
from compute.cli.schemas.making import shapes
from compute.renter.session import open_session  # noqa: F401

PROMPT = "[{}] compute$ "


def prompt() -> None:
    """Read a line, run it, and show its exit code in the next prompt; ends at the end of input."""
    shapes()  # imports every verb
    code = 0
    while True:
        sys.stdout.write(PROMPT.format(code))
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        child = os.fork()
        if child == 0:
            _run(shlex.split(line)[1:])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(words: list[str]) -> None:
    try:
        main(words)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))


if __name__ == "__main__":
    prompt()
