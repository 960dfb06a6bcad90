"""Programs of the system that verbs hand over to: OpenSSH's."""

import shutil

from compute.errors import Code, UsageError


def program(name: str) -> str:
    """Path of a program of the OpenSSH client.

    Raises:
        UsageError: `HOST_UNFIT` when it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise UsageError(
            f"there is no {name} on this machine",
            code=Code.HOST_UNFIT,
            hint="install the OpenSSH client (openssh-client)",
        )
    return path
