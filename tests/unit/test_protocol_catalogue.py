"""One table of errors feeds the wire, the exit codes and the docs page."""

import json
from collections import Counter
from pathlib import Path

import pytest

from compute.errors import Code
from compute.protocol.catalogue import page

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_docs_page_is_that_of_the_table() -> None:
    """Whoever changes the table makes the page anew: python -m compute.protocol.catalogue."""
    assert PAGE.read_text() == page()


def test_every_code_stands_on_the_page_once() -> None:
    """No row falls between the page's sections."""
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Code)


@pytest.mark.parametrize("part", ["slug", "exit_code"])
def test_codes_are_told_apart(part: str) -> None:
    """No two errors share a code or an exit status."""
    counts = Counter(getattr(code.spec, part) for code in Code)
    assert [value for value, times in counts.items() if times > 1] == []


@pytest.mark.parametrize("code", list(Code))
def test_each_row_is_usable(code: Code) -> None:
    """A status that is an error, an exit code that a shell passes on, a title and a hint."""
    spec = code.spec
    assert 400 <= spec.http_status <= 599
    assert 1 <= spec.exit_code <= 125
    assert spec.title
    assert spec.hint
    assert json.dumps(spec.slug) == f'"{spec.slug}"'
    assert Code.of(spec.slug) is code
