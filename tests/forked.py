"""Runs Python programs as processes of their own, without each loading the same modules anew.

One process loads what they all need, and forks itself for each program. What a program sees is
what it would see if a shell had started it: arguments, environment, folder, standard streams, and
an exit code that is its own.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.command import ROOT

LOADED = (
    "bittensor",
    "docker",
    "paramiko",
    "compute.adapters.chain.devchain.__main__",
    "compute.cli.checking",
    "compute.cli.main",
    "compute.cli.proving",
    "compute.probes.doctor",
    "compute.renter.session",
    "compute.storage.ledger",
    "compute.validator.replay",
)


class Programs:
    """Starts programs; use it as a context.

    Args:
        folder: for its socket.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "programs"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(self._socket)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        out: Path,
        err: Path,
        limit_s: float,
    ) -> int:
        """Run `-m MODULE …` or `SCRIPT …` to its end; its exit code.

        Raises:
            TimeoutError: when it does not end in time; it is killed then.
        """
        asked = {"words": words, "cwd": cwd, "env": dict(env), "out": out, "err": err}
        with self._connected(limit_s) as link:
            link.sendall(json.dumps(asked, default=str).encode() + b"\n")
            with link.makefile() as answers:
                pid = int(answers.readline())
                try:
                    return int(answers.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise

    def _connected(self, limit_s: float) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(limit_s)
        until = time.monotonic() + limit_s
        while True:
            try:
                link.connect(str(self._socket))
            except OSError:
                if time.monotonic() > until or self._process is None or self._process.poll():
                    link.close()
                    raise
                time.sleep(0.05)
            else:
                return link


def serve(path: str) -> None:
    """Load what programs need, then fork for each that is asked for."""
    for name in LOADED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for programs
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        door.settimeout(1)
        while os.getppid() == parent:  # whoever is killed cannot stop this one
            try:
                link, _ = door.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                door.close()
                _attend(link)
                os._exit(0)
            link.close()


def _attend(link: socket.socket) -> None:
    """Start one program and tell its process id, then its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with link.makefile() as asked:
        wanted = json.loads(asked.readline())
    pid = os.fork()
    if pid == 0:
        link.close()
        _play(wanted)
    link.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    link.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _play(wanted: Mapping[str, Any]) -> None:
    """Become the program."""
    for number, path, flags in (
        (0, "/dev/null", os.O_RDONLY),
        (1, wanted["out"], os.O_WRONLY | os.O_CREAT),
        (2, wanted["err"], os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    code = 0
    try:
        _execute(wanted["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - a program's root: it ends with what went wrong
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _execute(words: Sequence[str]) -> None:
    """As `python` does with these arguments."""
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.modules.pop(words[1], None)  # it is about to be loaded as `__main__`
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
