"""Takes docstrings apart: what it is, and what each of its parts means."""

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Described:
    """A docstring in pieces, each on one line.

    Attributes:
        text: paragraphs before the first section, examples left out.
        parts: arguments or attributes by name.
        raises: errors by name.
    """

    text: tuple[str, ...]
    parts: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)


def described(docstring: str | None) -> Described:
    """Take a docstring in Google's form apart."""
    first, *rest = _SECTION.split(inspect.cleandoc(docstring or ""))
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    paragraphs = [p for p in first.strip().split("\n\n") if p and not p.startswith(("::", " "))]
    return Described(
        tuple(map(_line, paragraphs)),
        _entries(sections.get("Args", "")) | _entries(sections.get("Attributes", "")),
        _entries(sections.get("Raises", "")),
    )


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return text.replace("|", "\\|")


def _entries(section: str) -> dict[str, str]:
    return {name: _line(text).removesuffix(".") for name, text in _ENTRY.findall(section)}


def _line(text: str) -> str:
    return " ".join(text.split())
