"""Reads the docs for tests: pages, fenced blocks, and the commands that a reader is told to type.

A block of commands may say what its reader has done before, in comments that no reader sees::

    <!-- before: compute up --name train --ttl 10m -->
    ```console
    $ compute show train
    ```
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"((?:^<!-- before: .* -->\n)*)^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BEFORE = re.compile(r"^<!-- before: (.*) -->$", re.MULTILINE)
PROMPT = re.compile(r"^[$#] ")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: the page's path in the checkout.
        before: commands of the comments above it.
    """

    page: str
    kind: str
    content: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a reader types.

    Attributes:
        shown: what the page shows of its output; an ellipsis stands for anything.
        before: what its reader has done, first of all.
    """

    page: str
    text: str
    shown: str = ""
    before: tuple[str, ...] = field(default=())


def named(page: Path) -> str:
    """A page's path in the checkout."""
    return str(page.relative_to(ROOT))


def blocks(*kinds: str) -> list[Block]:
    """Every fenced block of these kinds, page by page."""
    return [
        Block(named(page), kind, content, tuple(BEFORE.findall(before)))
        for page in PAGES
        for before, kind, content in FENCE.findall(page.read_text())
        if kind in kinds
    ]


def commands() -> list[Command]:
    """Every command of the docs, in the order in which it stands on its page."""
    return [command for block in blocks("console") for command in typed(block)]


def typed(block: Block) -> Iterator[Command]:
    """The commands of one block, each with the output that follows it."""
    before = block.before
    pieces = re.split(r"^(?=[$#] )", block.content.replace("\\\n", " "), flags=re.MULTILINE)
    for piece in pieces:
        line, _, shown = piece.partition("\n")
        if not PROMPT.match(line):
            continue
        text = re.sub(r"\s+#.*", "", line[2:]).strip()
        yield Command(block.page, re.sub(r" {2,}", " ", text), shown.strip(), before)
        before = ()
