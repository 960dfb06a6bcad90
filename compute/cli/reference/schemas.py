"""Tells what a JSON Schema takes, in a few words for a cell of a table."""

import json
from collections.abc import Iterator
from typing import Any

from compute.cli.reference.docstrings import cell, described
from compute.cli.reference.meanings import MEANINGS

Schema = dict[str, Any]
# Fields that a model takes over from another one, which describes them.
_MEANINGS = {
    "Order": "AllocateRequest",
    "Inquiry": "AllocateRequest",
    "Operation": "LeaseRequest",
    "Adoption": "LeaseRequest",
}


def table(name: str, schemas: dict[str, Schema]) -> Iterator[str]:
    """A schema of the document as Markdown: what it is, then its fields or values."""
    schema = schemas[name]
    about = described(schema.get("description"))
    yield from (line for paragraph in about.text for line in ("", paragraph))
    if values := schema.get("enum"):
        yield from ("", "One of " + ", ".join(f"`{value}`" for value in values) + ".")
        return
    properties = schema.get("properties", {})
    if not properties:
        yield from () if about.text else ("", "Any JSON value.")
        return
    source = described(schemas.get(_MEANINGS.get(name, ""), {}).get("description"))
    yield from ("", "| field | type | default | meaning |", "|---|---|---|---|")
    for field, rule in properties.items():
        default = _default(field, rule, schema.get("required", ()))
        meaning = about.parts.get(field) or source.parts.get(field) or rule.get("description")
        meaning = meaning or _elsewhere(name, field, rule, schemas)
        yield f"| `{field}` | {kind(rule)} | {default} | {cell(meaning)} |"


def _elsewhere(name: str, field: str, rule: Schema, schemas: dict[str, Schema]) -> str:
    """What a field means that its own model leaves to its name, or to what it holds."""
    if said := MEANINGS.get(f"{name}.{field}") or MEANINGS.get(field):
        return said
    for held in named(rule):
        if text := described(schemas[held].get("description")).text:
            return text[0].rstrip(".")
    return ""


def named(rule: Any) -> Iterator[str]:
    """Names of the schemas that a part of a document refers to, in order."""
    if isinstance(rule, dict):
        for key, value in rule.items():
            if key == "$ref":
                yield value.rsplit("/", 1)[-1]
            else:
                yield from named(value)
    elif isinstance(rule, list):
        for value in rule:
            yield from named(value)


def kind(rule: Schema) -> str:
    """What a schema takes: `integer, 1 to 65535`."""
    if reference := rule.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if choices := rule.get("anyOf"):
        return " or ".join(map(kind, choices))
    if values := rule.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    if "const" in rule:
        return f"`{rule['const']}`"
    return _plain(rule)


def _plain(rule: Schema) -> str:
    words = str(rule.get("type", "any"))
    if words == "array":
        most = f"at most {rule['maxItems']}, each " if "maxItems" in rule else ""
        return f"list: {most}{kind(rule.get('items', {}))}"
    if words == "object":
        return f"object of at most {rule['maxProperties']}" if "maxProperties" in rule else words
    if encoding := rule.get("contentEncoding"):
        words += f" ({encoding})"
    if pattern := rule.get("pattern"):
        return cell(f"{words}, `{pattern}`")
    return words + _range(rule) + _length(rule)


def _length(rule: Schema) -> str:
    least, most = rule.get("minLength"), rule.get("maxLength")
    if least is not None and most is not None:
        return f", {least} to {most} characters"
    return "" if most is None else f", at most {most} characters"


def _range(rule: Schema) -> str:
    least, most = rule.get("minimum"), rule.get("maximum")
    if least is not None and most is not None:
        return f", {_number(least)} to {_number(most)}"
    if "exclusiveMinimum" in rule:
        return f", above {_number(rule['exclusiveMinimum'])}"
    return "" if least is None else f", from {_number(least)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _default(name: str, rule: Schema, required: Any) -> str:
    if name in required:
        return "*required*"
    value = rule.get("default")
    if "default" not in rule or value in ("", [], {}) or isinstance(value, dict):
        return ""
    return f"`{json.dumps(value)}`"
