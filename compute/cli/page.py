"""Writes the docs page of the `compute` command from the command itself.

::

    python -m compute.cli.page > docs/cli.md
"""

import sys
from collections.abc import Iterator
from typing import Any

from compute.cli.lazy import VerbGroup
from compute.cli.main import INTERRUPTED, Verbs, app
from compute.cli.schemas import names

_INTRODUCTION = """\
# The compute command

Made by `python -m compute.cli.page` from the command itself; a test fails when the two differ.

Data goes to standard output, progress and questions to standard error. Every verb takes `--json`,
anywhere before a `--`: it prints one JSON document, whose JSON Schema `compute schema VERB` prints,
and errors as `{code, message, hint, exit_code, trace}`. Without a terminal nothing is ever asked.
Tables are as wide as the terminal, and whole lines when they go elsewhere; `NO_COLOR` is respected.

The exit code is 0, 2 for wrong usage, 130 when interrupted or answered with no, and otherwise that
of the error: [errors.md](errors.md), or `compute explain`. `compute exec` ends with the command's
own.

Teach your shell the verbs and the names of your leases, here for bash:

```console
$ source <(compute completion bash)
```
"""


def page() -> str:
    """The docs page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    assert str(INTERRUPTED) in _INTRODUCTION  # noqa: S101 - the page must not lie
    yield _INTRODUCTION.rstrip()
    from typer.main import get_group

    yield from ("", "## Before the verb", "")
    yield from _options(get_group(app).params)
    yield from _group(Verbs, ("compute",))


def _group(group: type[VerbGroup], prefix: tuple[str, ...]) -> Iterator[str]:
    section = ""
    top = group is Verbs
    for name, verb in group.verbs.items():
        if top and verb.section != section:
            section = verb.section
            yield from ("", f"## {section}")
        yield from _verb(group(name="compute").loaded(name), (*prefix, name))


def _verb(found: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(found, VerbGroup):
        yield from _group(type(found), path)
        return
    if hasattr(found, "commands"):
        for name, inner in found.commands.items():
            yield from _verb(inner, (*path, name))
        return
    arguments = [p for p in found.params if p.param_type_name == "argument"]
    options = [p for p in found.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([*path, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    yield from ("", f"### {' '.join(path)}", "", f"`{usage}`", "", found.help.strip())
    if arguments or options:
        yield ""
        yield from _options([*arguments, *options])
    verb = " ".join(path[1:])
    if verb in names():
        yield from ("", f"With `--json`: `compute schema {verb}`.")


def _usage(argument: Any) -> str:
    name = argument.name.upper()
    many = "..." if argument.nargs != 1 else ""
    return f"{name}{many}" if argument.required else f"[{name}{many}]"


def _options(params: list[Any]) -> Iterator[str]:
    yield "| | default | |"
    yield "|---|---|---|"
    for param in params:
        named = param.name.upper() if param.param_type_name == "argument" else ", ".join(param.opts)
        default = "" if param.default in (None, "", False) else f"`{param.default}`"
        text = (param.help or "").replace("|", "\\|")
        yield f"| `{named}` | {default} | {text} |"


if __name__ == "__main__":
    sys.stdout.write(page())
