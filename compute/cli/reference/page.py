"""Puts `docs/api.md` together."""

from collections.abc import Iterable, Iterator
from typing import Any

from compute.cli.reference import documents, python, schemas
from compute.cli.reference.docstrings import cell
from compute.protocol.synapses import Credentials

_INTRODUCTION = """\
# API reference

Made by `python -m compute.cli.reference` from the code; a test fails when the two differ. The same
as OpenAPI documents, for making a client: [openapi-axon.json](openapi-axon.json) and
[openapi-validator.json](openapi-validator.json). The command's `--json` has schemas of its own:
`compute schema`.

- [Synapses](#synapses): what a miner's axon takes
- [The validator's HTTP interface](#the-validators-http-interface): published weights,
  rentals of tenants
- [Python](#python): `compute.rent`
- [Values](#values): what the fields of the first two hold

Every error of the first two is `application/problem+json`, a [Problem](#problem) with a `code` of
[errors.md](errors.md).
"""
_SYNAPSES = """\
One `POST` each, signed in both directions: [protocol.md](protocol.md) says how, and who is
admitted. `GET /healthz`, `/readyz` and `/openapi.json` are for everybody.
"""
_VALIDATOR = """\
Served on `--api_host`, `--api_port`. Weights are for everybody; the other routes are there with
`--renting true` and want the token of a tenant as `Authorization: Bearer TOKEN`. Each sees only its
own rentals.
"""
_PYTHON = "With examples in [sdk.md](sdk.md)."


def page() -> str:
    """The docs page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    axon, validator = documents.axon(), documents.validator()
    # One table of values for both: the same name is the same model.
    known = validator["components"]["schemas"] | axon["components"]["schemas"]
    known["Credentials"] = Credentials.model_json_schema()
    known |= known["Credentials"].pop("$defs")
    yield _INTRODUCTION.rstrip()
    yield from ("", "## Synapses", "", _SYNAPSES.rstrip())
    shown: list[str] = []
    for synapse in documents.SYNAPSES:
        yield from ("", f"### {synapse.name}", "")
        yield (
            f"`POST {synapse.path}`, up to {synapse.request_limit:,} bytes and answered with up to"
            f" {synapse.reply_limit:,}; a dendrite waits {synapse.timeout_s:g} s."
        )
        for model in (synapse.request, synapse.reply):
            shown.append(model.__name__)
            yield from ("", f"#### {model.__name__}", *schemas.table(model.__name__, known))
    yield from ("", "## The validator's HTTP interface", "", _VALIDATOR.rstrip())
    for path, operations in validator["paths"].items():
        for method, operation in operations.items():
            yield from _operation(method.upper(), path, operation)
    yield from ("", "## Python", "", _PYTHON, *python.lines())
    yield from ("", "## Values")
    for name in sorted(set(known) - set(shown)):
        yield from ("", f"### {name}", *schemas.table(name, known))


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {method} {path}", "", operation["description"], "")
    body = operation.get("requestBody")
    if body:
        yield f"- takes {_content(body)}"
    for parameter in operation.get("parameters", ()):
        yield f"- {_parameter(parameter)}"
    for status, answer in operation["responses"].items():
        if status < "300":
            yield f"- answers {status}{_answer(answer)}"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    words = [f"{parameter['in']} `{parameter['name']}`: {schemas.kind(schema)}"]
    if parameter["required"]:
        words.append("required")
    elif schema.get("default") is not None:
        words.append(f"default `{schema['default']}`")
    if about := parameter.get("description"):
        words.append(cell(about))
    return "; ".join(words)


def _answer(answer: dict[str, Any]) -> str:
    return f" with {_content(answer)}" if answer.get("content") else ""


def _content(part: dict[str, Any]) -> str:
    kinds: Iterable[tuple[str, dict[str, Any]]] = part["content"].items()
    return ", ".join(
        schemas.kind(content["schema"]) if media == "application/json" else f"`{media}`"
        for media, content in kinds
    )
