"""Running one command in the foreground, with signals passed on and nothing lost.

The engine must outlive the command and end after it, so the holder waits for the command
however the command is asked to stop. If the holder itself is killed, the command is asked to end.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What siginfo says of a signal that the terminal sent to the whole foreground group (SI_KERNEL
# in signal.h): the command has it already.
_FROM_TERMINAL = 0x80
# From linux/prctl.h: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
# The shell's convention for a command that a signal ended.
_SIGNAL_STATUS = 128


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit status, as a shell would give it.

    A signal that asks this process to end is passed on to the command once.
    """
    watched = {*_ENDING, signal.SIGCHLD}
    libc = ctypes.CDLL(None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    try:
        child = subprocess.Popen(command, env=dict(environment), preexec_fn=prepare)  # noqa: PLW1509 -- no threads here
        while child.poll() is None:
            received = signal.sigwaitinfo(watched)
            if received.si_signo in _ENDING and received.si_code != _FROM_TERMINAL:
                os.kill(child.pid, received.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = child.returncode
    return status if status >= 0 else _SIGNAL_STATUS - status
