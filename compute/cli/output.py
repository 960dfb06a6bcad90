"""How the command speaks: data on stdout, progress on stderr, one error envelope."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

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
            Console(stderr=True, highlight=False).print(text, style="dim", soft_wrap=True)

    def data(self, value: Any, table: Table | None = None, text: str | None = None) -> None:
        """Print a result: JSON when asked for, else the table or the text."""
        if self.as_json:
            print(json.dumps(_plain(value), indent=2, sort_keys=True))  # noqa: T201
        elif table is not None:
            Console(highlight=False).print(table)
        elif text is not None:
            print(text)  # noqa: T201

    def error(self, error: ComputeError, trace: str = "") -> None:
        """Print the one line, or the envelope `{code, message, hint, exit_code, trace}`."""
        if self.as_json:
            print(json.dumps(envelope(error, trace), indent=2))  # noqa: T201
        else:
            print(f"error: {error.diagnostics()}", file=sys.stderr)  # noqa: T201


def envelope(error: ComputeError, trace: str = "") -> dict[str, Any]:
    """An error as data."""
    spec = error.code.spec
    return {
        "code": spec.slug,
        "message": str(error),
        "hint": error.hint,
        "exit_code": spec.exit_code,
        "trace": trace,
    }


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's look."""
    made = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return made


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


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
