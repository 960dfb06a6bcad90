"""How the command speaks: data on stdout, progress on stderr, one error envelope."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from compute.cli.sheet import Sheet
from compute.errors import ComputeError


@dataclass(frozen=True, slots=True)
class Output:
    """Where a verb's results go.

    Attributes:
        as_json: data is printed as one JSON document, errors as the envelope.
        quiet: no progress.
    """

    as_json: bool = False
    quiet: bool = False

    @property
    def terminal(self) -> bool:
        """Whether a person sits at both ends."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    def progress(self, text: str) -> None:
        """Tell a person what is going on, on standard error."""
        if not self.quiet:
            Console(stderr=True, highlight=False).print(
                text, style="dim", soft_wrap=True, markup=False
            )

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show on standard error that something is going on; the callable says what, as it goes.

        A terminal gets one line that moves and goes away at the end; other streams get one line.
        """
        console = Console(stderr=True, highlight=False)
        if self.quiet:
            yield lambda _text: None
        elif console.is_terminal:
            with console.status(text, spinner="line") as status:
                yield lambda now: status.update(f"{text}: {now}")
        else:
            self.progress(text)
            yield lambda _text: None

    def data(
        self, value: Any, sheet: Sheet | None = None, text: str | None = None, empty: str = ""
    ) -> None:
        """Print a result: JSON when asked for, else the table or the text.

        Args:
            value: what is printed as JSON.
            sheet: the same for a person.
            text: instead of a table.
            empty: said on standard error when the table has no rows.
        """
        if self.as_json:
            print(json.dumps(plain(value), indent=2, sort_keys=True))  # noqa: T201
        elif sheet is not None and (sheet.rows or not empty):
            left_out = sheet.print()
            if left_out:
                self.progress(f"no room for {', '.join(filter(None, left_out))}: --json has all")
        elif sheet is not None:
            self.progress(empty)
        elif text is not None:
            print(text)  # noqa: T201

    def line(self, value: Any, text: str) -> None:
        """Print one piece of a stream, as a line of JSON or as text that ends where it ends."""
        if self.as_json:
            print(json.dumps(plain(value), sort_keys=True), flush=True)  # noqa: T201
        else:
            print(text, end="", flush=True)  # noqa: T201

    def error(self, error: ComputeError, trace: str = "") -> None:
        """Print the one line, or the envelope `{code, message, hint, exit_code, trace}`."""
        if self.as_json:
            print(envelope(error, trace).model_dump_json(indent=2))  # noqa: T201
        else:
            print(f"error: {error.diagnostics()}", file=sys.stderr)  # noqa: T201

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is destroyed, where somebody can answer; nobody is asked elsewhere.

        Raises:
            typer.Abort: the answer is no.
        """
        if not yes and self.terminal and not self.as_json:
            typer.confirm(question, abort=True, err=True)


class Envelope(BaseModel):
    """An error as data, the same for every verb.

    Attributes:
        code: stable identifier, see `compute explain`.
        trace: id of the operation; the miner's log has it too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    message: str
    hint: str
    exit_code: int
    trace: str


def envelope(error: ComputeError, trace: str = "") -> Envelope:
    """An error as data."""
    spec = error.code.spec
    return Envelope(
        code=spec.slug,
        message=str(error),
        hint=error.hint,
        exit_code=spec.exit_code,
        trace=trace,
    )


def table(*columns: str, title: str | None = None, spare: Sequence[str] = ()) -> Sheet:
    """An empty table in the house's look; see `Sheet`."""
    return Sheet(*columns, title=title, spare=spare)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 lease`, `2 leases`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as a person writes them: `2h 5m`, `40s`, `over`."""
    if seconds <= 0:
        return "over"
    whole = round(seconds)
    units = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    parts = []
    for size, unit in units:
        if whole >= size:
            parts.append(f"{whole // size}{unit}")
            whole %= size
    return " ".join(parts[:2]) or "0s"


def plain(value: Any) -> Any:
    """A result as what JSON knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value
