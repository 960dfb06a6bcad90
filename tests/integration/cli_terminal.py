"""Terminals in which a test types, and the record of what was typed and seen there."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pexpect

from tests.command import ROOT
from tests.integration.cli_prompt import PROMPT

ENDS = re.escape(PROMPT).replace(r"\{\}", r"(\d+)")
CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])[;m]")
LIMIT_S = 40
HIGH = 400  # lines of a terminal


@dataclass(frozen=True)
class Seen:
    """One command that was typed, and what a terminal of so many columns showed until it ended."""

    line: str
    columns: int
    code: int
    raw: str
    seconds: float

    @property
    def text(self) -> str:
        """What was shown, without what moves the cursor or changes colours."""
        return CONTROL.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """What was shown, line by line; a line that was written over counts as several."""
        return [part for line in self.text.splitlines() for part in line.split("\r")]

    def __str__(self) -> str:
        end = f"[exit {self.code}, {self.seconds:.2f} s]"
        return f"{'-' * self.columns}\n$ {self.line}\n{self.text}{end}\n"


class Terminal:
    """A program with a prompt in a pseudo-terminal.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        record: what is typed is added to it.
    """

    def __init__(
        self, command: list[str], env: Mapping[str, str], record: list[Seen], columns: int = 80
    ) -> None:
        self._record = record
        self.columns = columns
        self.child = pexpect.spawn(
            command[0], command[1:], env=dict(env), cwd=str(ROOT), timeout=LIMIT_S,
            dimensions=(HIGH, columns), encoding="utf-8", echo=False, codec_errors="replace",
        )  # fmt: skip
        self.child.delaybeforesend = None
        self.child.expect(ENDS)

    @classmethod
    def bash(cls, env: Mapping[str, str], record: list[Seen]) -> Self:
        """A shell as a person has it, but for line editing."""
        env = {**env, "PS1": PROMPT.replace("{}", "$?")}
        return cls(["bash", "--norc", "--noprofile", "--noediting"], env, record)

    @classmethod
    def quick(cls, env: Mapping[str, str], record: list[Seen]) -> Self:
        """A prompt for the command alone, at which verbs start without delay."""
        return cls([sys.executable, "-m", "tests.integration.cli_prompt"], env, record)

    def type(
        self,
        line: str,
        *,
        code: int = 0,
        columns: int = 0,
        during: Callable[[Any], object] | Iterable[tuple[str, str]] = (),
    ) -> Seen:
        """Type a line and wait for its end.

        Args:
            line: what is typed.
            code: the exit code that is expected.
            columns: width of the terminal from now on; 0 leaves it.
            during: what is waited for and then answered while it runs; or a function that is
                given the pexpect child.
        """
        if columns and columns != self.columns:
            self.columns = columns
            self.child.setwinsize(HIGH, columns)
        begun = time.monotonic()
        raw = self._talk(line, during)
        took = time.monotonic() - begun
        seen = Seen(line, self.columns, int(self.child.match.group(1)), raw, took)
        self._record.append(seen)
        assert seen.code == code, seen
        return seen

    def _talk(self, line: str, during: Callable[[Any], object] | Iterable[tuple[str, str]]) -> str:
        self.child.sendline(line)
        shown = ""
        if callable(during):
            during(self.child)
            shown = self.child.before + self.child.after
        else:
            for awaited, answer in during:
                self.child.expect(awaited)
                shown += self.child.before + self.child.after
                self.child.send(answer)
        try:
            self.child.expect(ENDS)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"no end of: {line}\n{shown}{self.child.before}") from error
        return shown + self.child.before

    def close(self) -> None:
        """Hang up; what still runs there is told so, and ended."""
        self.child.close(force=True)


def shim(folder: Path) -> Path:
    """A folder for PATH in which `compute` is the command of this checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "compute"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m compute.cli.main "$@"\n')
    file.chmod(0o755)
    return folder


def until(look: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Look until it is so."""
    end = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)
