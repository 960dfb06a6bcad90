"""Writes the docs page of errors from the catalogue in `compute.errors`.

::

    python -m compute.protocol.catalogue > docs/errors.md
"""

import sys
from collections.abc import Iterator

from compute.errors import Code

_BANDS = (
    (1, "Ourselves"),
    (2, "Usage"),
    (30, "Wallet and chain"),
    (40, "Engine and host"),
    (50, "Leases"),
    (60, "Admission"),
    (70, "Peers"),
    (80, "Proof of GPU"),
    (90, "Probes"),
)
_INTRODUCTION = """\
# Errors

Made by `python -m compute.protocol.catalogue` from `compute/errors.py`; a test fails when the two
differ.

Each error has one code. On the wire it is the `code` of an `application/problem+json` answer with
the status below; a command that ends with it exits with the exit code below. *Retry* says whether
the same request may succeed later without any change.
"""


def page() -> str:
    """The docs page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION.rstrip()
    ends = [start for start, _ in _BANDS[1:]] + [126]
    for (start, title), end in zip(_BANDS, ends, strict=True):
        yield from ("", f"## {title}", "")
        yield "| code | exit | HTTP | retry | what happened | what to do |"
        yield "|---|---|---|---|---|---|"
        for code in sorted(Code, key=lambda code: code.spec.exit_code):
            spec = code.spec
            if start <= spec.exit_code < end:
                retry = "yes" if spec.retryable else "no"
                yield (
                    f"| `{spec.slug}` | {spec.exit_code} | {spec.http_status} | {retry} "
                    f"| {spec.title} | {spec.hint} |"
                )


if __name__ == "__main__":
    sys.stdout.write(page())
