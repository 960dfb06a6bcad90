"""Runs the `compute` command for tests: in this process, or as a person would start it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
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
    out, err = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.dict(os.environ, env or {}),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
    ):
        try:
            main(list(arguments))
        except SystemExit as end:
            return Ran(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("it did not end")


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
