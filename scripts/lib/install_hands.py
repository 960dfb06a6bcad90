"""Hands of the installer: everything that changes this machine goes through them.

With `dry` they say what they would do and change nothing. Standard library only: the installer runs
before there is a virtual environment.
"""

import contextlib
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Exit statuses of the error catalogue (compute/errors.py).
USAGE = 2
HOST_UNFIT = 45


class InstallError(Exception):
    """A step that cannot be done; the installer ends with its status.

    Args:
        status: exit status.
        message: what is wrong.
        hint: what to do.
    """

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint


class Hands:
    """Does, or only says.

    Args:
        dry: change nothing.
    """

    def __init__(self, *, dry: bool) -> None:
        self.dry = dry
        self._begun = time.monotonic()

    def step(self, title: str) -> None:
        """Say which step begins."""
        print(f"[{time.monotonic() - self._begun:6.1f} s] {title}", file=sys.stderr, flush=True)

    def note(self, line: str) -> None:
        """Say something about the step."""
        print(f"           {line}", file=sys.stderr, flush=True)

    def run(
        self, *command: str | Path, env: Mapping[str, str] | None = None, must: bool = True
    ) -> int:
        """Run a command in the foreground; its exit status.

        Raises:
            InstallError: with its status, when it failed and `must` says that it may not.
        """
        words = [str(word) for word in command]
        if self.dry:
            self.note(f"would run: {shlex.join(words)}")
            return 0
        with subprocess.Popen(words, env={**os.environ, **(env or {})}) as process:
            try:
                status = process.wait()
            except BaseException:
                process.terminate()
                raise
        if status and must:
            raise InstallError(max(status, 1), f"{shlex.join(words)} ended with {status}")
        return status

    @contextlib.contextmanager
    def beside(self, *command: str | Path) -> Iterator[None]:
        """Run a command while something else is done, and wait for it; whether it fails is open."""
        words = [str(word) for word in command]
        if self.dry:
            self.note(f"would run: {shlex.join(words)}")
            yield
            return
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
            try:
                yield
            except BaseException:
                process.terminate()
                raise

    def folder(self, path: Path, mode: int, owner: str = "") -> None:
        """Make a folder if it is not there; one that is keeps its mode and owner."""
        if path.is_dir():
            return
        if self.dry:
            self.note(f"would make: {path}/ ({mode:o}{', of ' + owner if owner else ''})")
            return
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)
        self.give(path, owner)

    def write(self, path: Path, text: str, mode: int) -> bool:
        """Write a file whole; whether it was not like that already."""
        with contextlib.suppress(OSError):
            if path.read_text() == text:
                return False
        if self.dry:
            self.note(f"would write: {path} ({mode:o})")
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text)
        fresh.chmod(mode)
        fresh.replace(path)
        return True

    def give(self, path: Path, owner: str, group_only: bool = False) -> None:
        """Let a path belong to a user and his group; to nobody else when there is no user."""
        if not owner or self.dry:
            return
        found = pwd.getpwnam(owner)
        os.chown(path, -1 if group_only else found.pw_uid, found.pw_gid)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file with its mode, making the folders above it."""
        if self.dry:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it, if it is there."""
        if not path.exists() and not path.is_symlink():
            return
        if self.dry:
            self.note(f"would remove: {path}")
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def asked(question: str, *, yes: bool) -> bool:
    """Ask a person at a terminal; without one, or with --yes, the command line is the answer."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def succeeds(command: Sequence[str]) -> bool:
    """Whether a command that changes nothing ends with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
