"""The SDK's reference from its signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from compute import errors
from compute.cli.reference.docstrings import Described, cell, described
from compute.renter import sdk

_QUALIFIED = re.compile(r"\b(?:[A-Za-z_]\w*\.)+([A-Za-z_]\w*)")
_CLASSES = (sdk.Rental, sdk.AsyncBox, sdk.Box, sdk.CommandResult)


def lines() -> Iterator[str]:
    """Everything public of `compute`, as Markdown."""
    yield from _function("compute.rent", sdk.rent)
    for one in _CLASSES:
        yield from _class(one)
    yield from _errors()


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    about = described(function.__doc__)
    signature = inspect.signature(function)
    yield from (
        "",
        f"### {name}",
        "",
        f"`{name}(…)` → `{_annotation(signature.return_annotation)}`",
    )
    yield from _text(about)
    yield from ("", "| argument | type | default | meaning |", "|---|---|---|---|")
    for parameter in signature.parameters.values():
        meaning = cell(about.parts.get(parameter.name, ""))
        kind = cell(_annotation(parameter.annotation))
        yield f"| `{parameter.name}` | `{kind}` | `{parameter.default!r}` | {meaning} |"


def _class(one: type) -> Iterator[str]:
    about = described(one.__doc__)
    yield from ("", f"### compute.{one.__name__}")
    yield from _text(about)
    rows = list(_members(one, about))
    if rows:
        yield from ("", "| | | raises |", "|---|---|---|", *rows)


def _members(one: type, about: Described) -> Iterator[str]:
    for name, kind in inspect.get_annotations(one).items():
        yield f"| `{name}: {cell(_annotation(kind))}` | {cell(about.parts.get(name, ''))} | |"
    for name, member in vars(one).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.fget is not None:
            kind = _annotation(inspect.signature(member.fget).return_annotation)
            yield f"| `{name}: {cell(kind)}` | {cell(_first(member.__doc__))} | |"
        elif inspect.isfunction(member):
            about = described(member.__doc__)
            raised = "; ".join(f"`{error}` {when}" for error, when in about.raises.items())
            yield f"| `{_call(name, member)}` | {cell(' '.join(about.text))} | {cell(raised)} |"


def _errors() -> Iterator[str]:
    yield from ("", "### Errors", "", "All of them are in `compute.errors`.", "")
    yield from ("| | |", "|---|---|")
    for name, one in vars(errors).items():
        if inspect.isclass(one) and issubclass(one, errors.ComputeError):
            yield f"| `{name}` | {cell(_first(one.__doc__))} |"


def _call(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name != "self"]
    text = str(signature.replace(parameters=kept))
    before = "await " if inspect.iscoroutinefunction(function) else ""
    return cell(before + name + _short(text))


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _short(text)


def _short(text: str) -> str:
    return _QUALIFIED.sub(r"\1", text.replace("'", "") if "'" in text[:1] else text)


def _first(docstring: str | None) -> str:
    return " ".join(described(docstring).text)


def _text(about: Described) -> Iterator[str]:
    yield from (line for paragraph in about.text for line in ("", paragraph))
