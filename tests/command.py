"""Runs the `compute` command for tests: in this process, or as a person would start it."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import jsonschema_rs

from compute.cli.main import main
from compute.cli.schemas import published

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "compute.cli.main"]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def json(self, verb: str) -> Any:
        """Its output as data, which holds to the verb's published schema."""
        value = json.loads(self.out)
        jsonschema_rs.validator_for(published(verb)).validate(value)
        return value


def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
    """Run it in this process and without a terminal, with this added to the environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.dict(os.environ, env or {}),
        _piped(stdin) as piped,
        patch.object(sys, "stdin", piped),
    ):
        try:
            main(list(arguments))
        except SystemExit as end:
            return Ran(int(end.code or 0), *(_text(stream) for stream in (out, err)))
    raise AssertionError("it did not end")


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def _piped(text: str) -> Iterator[TextIO]:
    """A standard input with a file descriptor, as a shell gives one."""
    with tempfile.TemporaryFile("w+") as file:
        file.write(text)
        file.seek(0)
        yield file


def run_process(
    *arguments: str, env: Mapping[str, str], stdin: str = "", timeout_s: float = 90
) -> Ran:
    """Run it as a process without a terminal."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=dict(env),
        cwd=ROOT,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=timeout_s,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
